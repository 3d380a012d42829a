"""Where a scoring job writes, and how long its own folders are kept."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path

from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.storage import make_folder_of

RUN_FOLDER = re.compile(r"\d{8}-\d{6}-\d{6}")
"""Names of the folders that this module makes: date, time and microseconds in UTC, so that names sort by age."""


def output_paths(
    request: ScoreRequest | ScorePlantRequest, runs: Path, started_at: datetime
) -> tuple[Path, Path, Path]:
    """Report, JSON and CSV: as the request says, else in one new folder in `runs`. Their folders are made.

    Raises:
        StorageError: a folder cannot be made.
    """
    report = report_path(request.report, runs, started_at)
    stem = "results" if request.report is None else report.stem
    json_path = (request.json_path or report.with_name(f"{stem}.json")).expanduser().absolute()
    csv_path = (request.csv_path or report.with_name(f"{stem}.csv")).expanduser().absolute()
    for path in (json_path, csv_path):
        make_folder_of(path)
    return report, json_path, csv_path


def report_path(asked: Path | None, runs: Path, started_at: datetime) -> Path:
    """Where the report goes: as asked, else into a new folder in `runs`. The folder is made.

    Raises:
        StorageError: it cannot be made.
    """
    own = runs / f"{started_at:%Y%m%d-%H%M%S-%f}" / "report.html"
    report = own if asked is None else asked.expanduser().absolute()
    make_folder_of(report)
    return report


def drop_old_reports(runs: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` report folders in `runs`, and return those removed.

    A schedule makes a folder every few minutes; the result store keeps what they say. Only folders that `report_path`
    named are touched.
    """
    if not runs.is_dir():
        return []
    made = sorted(path for path in runs.iterdir() if RUN_FOLDER.fullmatch(path.name))
    old = made[: max(0, len(made) - keep)]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)  # the next run tries again
    return old
