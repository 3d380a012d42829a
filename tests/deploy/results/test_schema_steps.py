"""A result database of an older Linewise, brought to this one's schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from deploy.bundles.bundle import write_bundle
from deploy.results.database import parse_url
from deploy.results.store import ResultStore
from tests.deploy.results.result_rows import begin, scored, sha256
from tests.parts.plant import bundle_files, make_draft


def step_back(path: Path, revision: str) -> None:
    """The schema as a Linewise of that step left it."""
    config, engine = Config(), create_engine(parse_url(path))
    config.set_main_option("script_location", "deploy.results:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def test_rows_of_before_p_values_stay_and_have_none(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add([scored(begin(store, bundle), bundle, 1)])
    step_back(path, "0001")
    with ResultStore(path) as store:
        store.add([scored(begin(store, bundle), bundle, 2)])
        assert [(row.image_sha256, row.p_value) for row in store.query()] == [(sha256(2), 0.25), (sha256(1), None)]
