"""Rows of parts: one a part, whatever was told of it before, and other parts of its name apart."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.results.part_queries import parts_of, told_part
from deploy.results.records import NewMessage, NewPart, PartView
from deploy.results.row_files import PART_COLUMNS, ExportFormat, export_parts
from deploy.results.store import ResultStore
from pipeline.calibration import Decision
from tests.deploy.results.result_rows import begin, scored, sha256
from tests.deploy.results.schema_steps import step_back
from tests.parts.plant import bundle_files, make_draft

LINE, ADDRESS = "mvtec/pill", "http://mes/"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", make_draft(), bundle_files())


def part(bundle: Bundle, views: Mapping[str, int | None], name: str = "17") -> NewPart:
    """A part of three views, of which some were seen: each with the number of its content, None: not opened."""
    seen = tuple(
        PartView(
            view=view,
            image_path=f"/images/{name}_{view}.png",
            image_sha256=None if number is None else sha256(number),
            decision=None if number is None else Decision.PASS,
            score=None if number is None else 0.1,
            p_value=None,
            reason=None,
        )
        for view, number in views.items()
    )
    identity = f"{name}{sorted(views.items(), key=str)}".encode().hex()[-64:].rjust(64, "0")
    return NewPart(
        line=LINE,
        part=name,
        bundle_id=bundle.id,
        bundle_version=bundle.manifest.version,
        content_id=identity,
        decision=Decision.PASS if len(views) == 3 else Decision.REVIEW,
        reason=None,
        worst_view=seen[0].view,
        image_path=seen[0].image_path,
        image_sha256=seen[0].image_sha256,
        score=seen[0].score,
        p_value=None,
        reject_threshold=0.6,
        review_threshold=0.4,
        views_expected=3,
        views_seen=list(views),
        views_missing=[view for view in ("top", "side", "bottom") if view not in views],
        decided_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        views=seen,
        message=NewMessage(identity, ADDRESS, LINE, "PASS", "{}"),
    )


def seen(store: ResultStore) -> list[tuple[str, str]]:
    return [(row.part, ",".join(row.views_seen)) for row in parts_of(store, LINE)]


def messages(store: ResultStore) -> int:
    return len(store.outbox.waiting(ADDRESS, 100))


def test_a_part_told_again_adds_nothing(store: ResultStore, bundle: Bundle) -> None:
    whole = part(bundle, {"top": 1, "side": 2, "bottom": 3})
    store.add([scored(begin(store, bundle), bundle, 1), whole, whole])
    store.add([whole, part(bundle, {"top": 1}), part(bundle, {"side": 2, "bottom": None})])
    assert (seen(store), messages(store)) == ([("17", "top,side,bottom")], 1)


def test_more_views_take_the_place_of_fewer_and_are_told(store: ResultStore, bundle: Bundle) -> None:
    store.add([part(bundle, {"top": 1}), part(bundle, {"bottom": 3}), part(bundle, {"top": 1}, name="18")])
    store.add([part(bundle, {"top": 1, "side": 2, "bottom": 3})])
    assert (seen(store), messages(store)) == ([("18", "top"), ("17", "top,side,bottom")], 4)


def test_a_view_that_can_be_opened_later_belongs_to_the_same_part(store: ResultStore, bundle: Bundle) -> None:
    store.add([part(bundle, {"top": 1, "side": None, "bottom": 3})])
    store.add([part(bundle, {"top": 1, "side": 2, "bottom": 3})])
    assert (seen(store), messages(store)) == ([("17", "top,side,bottom")], 2)


def test_a_name_used_again_has_a_row_for_each_content(store: ResultStore, bundle: Bundle) -> None:
    store.add([part(bundle, {"top": 1, "side": 2, "bottom": 3}), part(bundle, {"top": 4, "side": 5, "bottom": 6})])
    store.add([part(bundle, {"top": 1, "side": 7, "bottom": 8})])  # one image twice, and two that were never there
    assert (len(seen(store)), messages(store)) == (3, 3)


def test_a_part_of_which_nothing_could_be_opened_has_one_row(store: ResultStore, bundle: Bundle) -> None:
    store.add([part(bundle, {"top": None, "side": None, "bottom": None})])
    store.add([part(bundle, {"top": None, "side": None})])
    assert seen(store) == [("17", "top,side")]


def test_the_part_that_a_content_was_told_with(store: ResultStore, bundle: Bundle) -> None:
    store.add([part(bundle, {"top": 1, "side": 2, "bottom": 3})])
    found = told_part(store, bundle.id, "17", sha256(2))
    assert found is not None
    assert found.views_seen == ["top", "side", "bottom"]
    assert told_part(store, bundle.id, "18", sha256(2)) is None
    assert told_part(store, "other", "17", sha256(2)) is None


def test_parts_as_csv(store: ResultStore, bundle: Bundle, tmp_path: Path) -> None:
    store.add([part(bundle, {"top": 1})])
    assert export_parts(parts_of(store, LINE), tmp_path / "parts.csv", ExportFormat.CSV) == 1
    with (tmp_path / "parts.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == PART_COLUMNS
    assert (row["part"], row["views_seen"], row["views_missing"]) == ("17", "top", "side,bottom")
    assert row["decided_at"] == "2026-03-04T05:06:07+00:00"
    assert list(parts_of(store, LINE, since=datetime(2026, 3, 5, tzinfo=UTC))) == []


def test_a_database_of_before_parts_gets_their_tables(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add([scored(begin(store, bundle), bundle, 1), part(bundle, {"top": 1})])
    step_back(path, "0006")
    with ResultStore(path) as store:
        assert (len(store.query()), seen(store)) == (1, [])
        store.add([part(bundle, {"top": 1})])
        assert seen(store) == [("17", "top")]


def test_parts_of_before_kinds_stay_and_have_none(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add([part(bundle, {"top": 1})._replace(kind="crack", kind_probability=0.75)])
        assert [(row.kind, row.kind_probability) for row in parts_of(store, LINE)] == [("crack", 0.75)]
    step_back(path, "0009")
    with ResultStore(path) as store:
        store.add([part(bundle, {"top": 2}, name="18")._replace(kind="crack")])
        assert [(row.part, row.kind) for row in parts_of(store, LINE)] == [("17", None), ("18", "crack")]
