"""Where a scoring job writes, and how long its own folders are kept."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path

from flows.jobs.requests import ScoreRequest
from pipeline.errors import StorageError
from pipeline.settings import Settings

RUN_FOLDER = re.compile(r"\d{8}-\d{6}-\d{6}")
"""Names of the folders that this module makes: date, time and microseconds in UTC, so that names sort by age."""


def output_paths(request: ScoreRequest, settings: Settings, line: str, started_at: datetime) -> tuple[Path, Path, Path]:
    """Report, JSON and CSV: as the request says, else in one new folder below the home. Their folders are made.

    Raises:
        StorageError: a folder cannot be made.
    """
    if request.report is not None:
        report = request.report.expanduser().absolute()
        folder, stem = report.parent, report.stem
    else:
        folder, stem = settings.below_home("reports", line, f"{started_at:%Y%m%d-%H%M%S-%f}"), "results"
        report = folder / "report.html"
    json_path = (request.json_path or folder / f"{stem}.json").expanduser().absolute()
    csv_path = (request.csv_path or folder / f"{stem}.csv").expanduser().absolute()
    for path in (report, json_path, csv_path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"a folder {path.parent} to write into", reason, "name another output folder") from error
    return report, json_path, csv_path


def drop_old_reports(settings: Settings, line: str) -> list[Path]:
    """Remove all but the newest `keep_reports` report folders of the line, and return those removed.

    A schedule makes a folder every few minutes; the result store keeps what they say. Only folders that `output_paths`
    named are touched.
    """
    folder = settings.below_home("reports", line)
    if not folder.is_dir():
        return []
    made = sorted(path for path in folder.iterdir() if RUN_FOLDER.fullmatch(path.name))
    old = made[: max(0, len(made) - settings.keep_reports)]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)  # the next run tries again
    return old
