"""A result database of an older Linewise, brought to this one's schema."""

from __future__ import annotations

from pathlib import Path

from deploy.bundles.bundle import write_bundle
from deploy.results.store import ResultStore
from tests.deploy.results.result_rows import REGION, begin, scored, sha256
from tests.deploy.results.schema_steps import step_back
from tests.parts.plant import bundle_files, make_draft


def test_rows_of_before_p_values_stay_and_have_none(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add([scored(begin(store, bundle), bundle, 1)])
    step_back(path, "0001")
    with ResultStore(path) as store:
        store.add([scored(begin(store, bundle), bundle, 2)])
        assert [(row.image_sha256, row.p_value) for row in store.query()] == [(sha256(2), 0.25), (sha256(1), None)]


def test_rows_of_before_regions_stay_and_have_none(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        row = scored(begin(store, bundle), bundle, 1)._replace(image_height=30, image_width=40, regions=(REGION,))
        store.add([row])
        assert store.regions(bundle.id, sha256(1)) == (REGION,)
    step_back(path, "0003")
    with ResultStore(path) as store:
        store.add([row, row._replace(image_sha256=sha256(2), image_path="/images/2.png")])
        rows = [(row.image_sha256, row.image_height, row.image_width) for row in store.query()]
        assert rows == [(sha256(2), 30, 40), (sha256(1), None, None)]
        assert store.regions(bundle.id, sha256(2)) == (REGION,)


def test_rows_of_before_figures_stay_and_have_none(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        row = scored(begin(store, bundle), bundle, 1)._replace(look_brightness=100.0, look_profiles=b"123")
        store.add([row])
    step_back(path, "0004")
    with ResultStore(path) as store:
        store.add([row._replace(image_sha256=sha256(2), image_path="/images/2.png")])
        rows = [(row.image_sha256, row.look_brightness, row.look_profiles) for row in store.query()]
        assert rows == [(sha256(2), 100.0, b"123"), (sha256(1), None, None)]


def test_rows_of_before_kinds_stay_and_have_none(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        row = scored(begin(store, bundle), bundle, 1)._replace(kind="crack", kind_probability=0.75)
        store.add([row])
        found = store.find(bundle, sha256(1))
        assert found is not None
        assert (found.kind, found.kind_probability) == ("crack", 0.75)
    step_back(path, "0008")
    with ResultStore(path) as store:
        store.add([row._replace(image_sha256=sha256(2), image_path="/images/2.png")])
        rows = [(row.image_sha256, row.kind, row.kind_probability) for row in store.query()]
        assert rows == [(sha256(2), "crack", 0.75), (sha256(1), None, None)]
