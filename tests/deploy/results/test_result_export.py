"""Rows of the result store as Parquet and CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.results import row_files
from deploy.results.coco import write_coco
from deploy.results.row_files import COLUMNS, REGION_COLUMNS, ExportFormat, export_rows
from deploy.results.store import ResultStore
from flows.cli import main
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, StorageError
from pipeline.kinds import NONE_OF_THESE
from pipeline.regions import Region
from tests.deploy.results.result_rows import begin, scored, unreadable
from tests.parts.plant import bundle_files, make_draft

LINE = "mvtec/pill"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", make_draft(line=LINE), bundle_files())


@pytest.fixture
def store(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
    """A home's store with two runs: three scores, then two files without one."""
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path))
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    with ResultStore(tmp_path / "results.sqlite") as store:
        run = begin(store, bundle)
        store.add(scored(run, bundle, number, score=number) for number in range(3))
        later = begin(store, bundle)
        rows = [
            unreadable(later, bundle, "/images/x", number=9, reason='=HYPERLINK("http://evil")'),
            unreadable(later, bundle, "@stream#1", number=None, reason="a, quoted\nreason"),
        ]
        store.add(row._replace(scored_at=datetime(2026, 3, 5, tzinfo=UTC)) for row in rows)
        yield store


def export(*arguments: object) -> int:
    """Exit code of `linewise results export`."""
    sys.argv = ["linewise", "results", "export", *map(str, arguments)]
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main())
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def _own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)


def test_parquet_has_typed_columns_in_row_groups(store, tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "ROW_GROUP", 2)
    path = tmp_path / "rows.parquet"
    assert export(LINE, "--output", path) == 0
    file = pyarrow.parquet.ParquetFile(path)
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [2, 2, 1]
    assert tuple(file.schema_arrow.names) == COLUMNS
    assert file.schema_arrow.field("scored_at").type == pyarrow.timestamp("us", tz="UTC")
    assert file.schema_arrow.field("score").type == pyarrow.float64()
    rows = file.read().to_pylist()
    assert [row["score"] for row in rows] == [0.0, 1.0, 2.0, None, None], "the oldest first"
    assert rows[2]["decision"] == "REJECT"
    assert [row["p_value"] for row in rows] == [0.25] * 3 + [None] * 2
    assert rows[0]["scored_at"] == datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
    assert [row["status"] for row in rows] == ["scored"] * 3 + ["unreadable"] * 2
    assert rows[3]["reason"].startswith("=HYPERLINK"), "Parquet is no spreadsheet: text stays what it is"
    for row, kept in zip(rows, store.stream(oldest_first=True), strict=True):
        assert row == {name: getattr(kept, name) for name in COLUMNS}


def test_csv_has_no_formula_and_times_with_a_zone(store, tmp_path):
    path = tmp_path / "rows.csv"
    assert export(LINE, "--output", path) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["score"] for row in rows] == ["0.0", "1.0", "2.0", "", ""]
    assert rows[0]["scored_at"] == "2026-03-04T05:06:07.890123+00:00"
    assert rows[3]["reason"] == '\'=HYPERLINK("http://evil")'
    assert (rows[4]["image_path"], rows[4]["reason"]) == ("'@stream#1", "a, quoted\\nreason")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--run", "1"], 3),
        (["--run", "2"], 2),
        (["--since", "2026-03-04T23:00-01:00"], 2),
        (["--since", "2026-03-05T00:00:00.000001+00:00"], 0),
        (["--format", "csv"], 5),
    ],
)
def test_rows_are_chosen_by_run_and_time(store, tmp_path, options, count, capsys):
    assert export(LINE, "--output", tmp_path / "rows.csv", *options) == 0
    assert capsys.readouterr().out.startswith(f"{count} rows of {LINE} in ")
    assert (tmp_path / "rows.csv").read_text().count("2026-03-0") == count


@pytest.mark.parametrize(
    ("line", "output", "options", "words"),
    [
        (LINE, "rows.xlsx", [], "format to be one of parquet, csv, got 'xlsx'"),
        (LINE, "rows.csv", ["--since", "yesterday"], "since to be a date or time"),
        (LINE, "rows.csv", ["--run", "7"], "a scoring run of mvtec/pill, got run 7: name one; the latest is 2"),
        ("other", "rows.csv", [], "a line that was scored, got no run of 'other'"),
        (LINE, "nowhere/rows.csv", [], "nothing there"),
        (LINE, "nowhere/rows.parquet", [], "nothing there"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(store, tmp_path, line, output, options, words, capsys):
    assert export(line, "--output", tmp_path / output, *options) == 2
    assert words in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_older_file(store, tmp_path):
    def broken():
        yield from store.stream(limit=2)
        raise StorageError("rows", "none", "look")

    for file_format in ExportFormat:
        path = tmp_path / f"rows.{file_format}"
        path.write_text("older")
        with pytest.raises(StorageError):
            export_rows(broken(), path, file_format)
        assert path.read_text() == "older"
    assert not list(tmp_path.glob(".*partial"))


def test_parquet_without_pyarrow_says_what_to_install(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'linewise\[parquet\]', or export CSV"):
        export_rows(store.stream(), tmp_path / "rows.parquet", ExportFormat.PARQUET)
    assert not (tmp_path / "rows.parquet").exists()


def test_regions_have_a_row_each_in_both_formats(store, bundle, tmp_path):
    row = scored(begin(store, bundle), bundle, 7)._replace(
        decision=Decision.REJECT, image_height=100, image_width=200, regions=(region(40.0), region(12.5))
    )
    store.add([row])
    assert export(LINE, "--regions", "--output", tmp_path / "regions.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "regions.parquet")
    assert tuple(table.column_names) == REGION_COLUMNS
    assert table.column("area").to_pylist() == [40.0, 12.5]
    assert table.column("number").to_pylist() == [1, 2]
    assert table.column("image_path").to_pylist() == [str(row.image_path)] * 2
    assert json.loads(table.column("contour")[0].as_py()) == [[1, 2], [5, 2], [5, 6]]
    assert export(LINE, "--regions", "--run", 1, "--output", tmp_path / "regions.csv") == 0
    with (tmp_path / "regions.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [list(REGION_COLUMNS)], "that run flagged nothing"


def test_kinds_are_the_categories_of_coco_and_stand_beside_regions(store, bundle, tmp_path):
    run = begin(store, bundle)
    said = [("dent", 0.8), ("crack", 0.6), (NONE_OF_THESE, None), (None, None), ("crack", 0.9)]
    store.add(
        scored(run, bundle, number)._replace(
            decision=Decision.REJECT,
            image_height=100,
            image_width=200,
            regions=(region(40.0),),
            kind=kind,
            kind_probability=probability,
        )
        for number, (kind, probability) in enumerate(said, 20)
    )
    write_coco(store, store.runs()[0], tmp_path / "coco.json")
    coco = json.loads((tmp_path / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert names == {1: "defect", 2: "crack", 3: "dent"}
    assert [names[annotation["category_id"]] for annotation in coco["annotations"]] == [
        *("dent", "crack", "defect", "defect", "crack")
    ]
    assert [(each.get("kind"), each.get("kind_probability")) for each in coco["annotations"]] == said
    assert export(LINE, "--regions", "--output", tmp_path / "regions.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "regions.parquet")
    assert Counter(table.column("kind").to_pylist()) == Counter(kind for kind, _ in said)


def test_parts_and_regions_are_two_files(store, tmp_path, capsys):
    assert export(LINE, "--regions", "--parts", "--output", tmp_path / "a.csv") == 2
    assert "expected either parts or regions, got both" in capsys.readouterr().err


def region(area: float) -> Region:
    return Region(box=(1, 2, 4, 4), contour=((1, 2), (5, 2), (5, 6)), area=area, area_mm2=None, peak=0.9, mean=0.5)
