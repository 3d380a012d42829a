"""A store whose PostgreSQL server is killed goes on once it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bundles.bundle import write_bundle
from deploy.results.store import ResultStore
from pipeline.errors import StorageError
from tests.deploy.results.postgres_server import PostgresServer, nothing_to_run
from tests.deploy.results.result_rows import begin, scored
from tests.parts.plant import bundle_files, make_draft


@pytest.mark.skipif(nothing_to_run() is not None, reason="needs a PostgreSQL server of its own, to kill it")
def test_a_store_keeps_its_rows_when_its_server_is_killed_and_takes_more_when_it_is_back(
    tmp_path: Path,
):
    bundle = write_bundle(tmp_path / "bundle", make_draft(), bundle_files())
    with PostgresServer(tmp_path) as server, ResultStore(server.url) as store:
        run = begin(store, bundle)
        store.add([scored(run, bundle, 1)])
        server.kill()
        with pytest.raises(StorageError, match="expected a result database that can be used"):
            store.add([scored(run, bundle, 2)])
        server.start()
        store.add([scored(run, bundle, 3)])
        assert [row.image_path for row in store.query()] == ["/images/3.png", "/images/1.png"]
