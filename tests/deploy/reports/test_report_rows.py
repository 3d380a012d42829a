"""A run's rows as JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.reports.rows import ReportRow, write_csv, write_json
from pipeline.calibration import Decision
from pipeline.errors import StorageError
from pipeline.regions import Region

ABOUT = {"line": "a/b", "bundle_version": "v1"}
REGIONS = "regions,region_x,region_y,region_width,region_height,region_area,region_area_mm2,region_peak,region_mean"
LARGE = Region(
    box=(1.5, 2.0, 30.0, 4.0),
    contour=((1.5, 2.0), (31.5, 2.0), (31.5, 6.0)),
    area=60.25,
    area_mm2=None,
    peak=2.5,
    mean=1.75,
)
ROWS = [
    ReportRow(
        **ABOUT,
        path='a,"b"\n.png',
        sha256="0" * 64,
        score=1.25,
        decision=Decision.REJECT,
        p_value=0.002,
        regions=(LARGE, replace(LARGE, area=2.0)),
    ),
    ReportRow(**ABOUT, path="teil_\udcfc.png", sha256=None, reason="expected an image, got <nothing>: look"),
    ReportRow(**ABOUT, path="Prüfung/ü.png", sha256="1" * 64, score=0.1, decision=Decision.PASS),
]


def test_csv_rows_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    assert write_csv(path, iter(ROWS)) == 3
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ['a,"b"\\n.png', "teil_\\xfc.png", "Prüfung/ü.png"]
    assert [row["status"] for row in rows] == ["scored", "unreadable", "scored"]
    assert [row["score"] for row in rows] == ["1.25", "", "0.1"]
    assert [row["decision"] for row in rows] == ["REJECT", "", "PASS"]
    assert [row["p_value"] for row in rows] == ["0.002", "", ""]
    assert [row["regions"] for row in rows] == ["2", "", "0"]
    assert [rows[0][name] for name in REGIONS.split(",")[1:]] == [
        *("1.5", "2.0", "30.0", "4.0", "60.25", "", "2.5", "1.75")
    ]
    assert {rows[2][name] for name in REGIONS.split(",")[1:]} == {""}
    assert write_csv(path, []) == 0
    assert (
        path.read_text()
        == f"line,bundle_version,path,sha256,status,score,decision,reason,p_value,{REGIONS},kind,kind_probability\n"
    )


def test_json_rows_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert write_json(path, {"line": "a/b", "threshold": 1.0}, iter(ROWS)) == 3
    read = json.loads(path.read_text())
    assert read["format_version"] == 1
    assert read["line"] == "a/b"
    assert [row["path"] for row in read["rows"]] == [row.path for row in ROWS]
    assert [row["score"] for row in read["rows"]] == [1.25, None, 0.1]
    assert read["rows"][0]["decision"] == "REJECT"
    assert [len(row["regions"]) for row in read["rows"]] == [2, 0, 0]
    assert Region.from_json(read["rows"][0]["regions"][0]) == LARGE
    assert write_json(path, {}, []) == 0
    assert json.loads(path.read_text()) == {"format_version": 1, "rows": []}


def test_rows_that_fail_half_way_leave_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {}, ROWS)
    before = path.read_bytes()

    def torn() -> Iterator[ReportRow]:
        yield ROWS[0]
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="the store went away"):
        write_json(path, {}, torn())
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {}, [replace(ROWS[0], score=math.nan)])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(StorageError):
        write_csv(tmp_path / "nowhere" / "results.csv", ROWS)
