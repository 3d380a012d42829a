"""What a scoring run writes beside its rows in the store, where that goes, and how long its own folders are kept."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.messages.sender import Delivered
from deploy.reports.parts import PartCounts, PartsShown
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.maps import map_path, write_map
from deploy.scoring.plant_summary import PlantSummary
from deploy.scoring.row_spool import RowSpool
from deploy.scoring.tally import ScoringSummary
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.storage import make_folder_of

RUN_FOLDER = re.compile(r"\d{8}-\d{6}-\d{6}")
"""Names of the folders that this module makes: date, time and microseconds in UTC, so that names sort by age."""


@dataclass(frozen=True, kw_only=True)
class RunResult(ABC):
    """A finished scoring job, of a line or of a plant: the device it ran on, and what it wrote.

    `remarks` say what a reader should know about the source; `pictures_left_out` are files of it that are pictures by
    their suffix, which is none that is read. `messages` is None where nobody was told of the results.
    """

    device: str
    report: Path
    json_path: Path
    csv_path: Path
    remarks: tuple[str, ...] = ()
    pictures_left_out: int = 0
    messages: Delivered | None = None

    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """The run in numbers, for a table, a JSON head or an artifact."""

    @property
    def message_figures(self) -> dict[str, int]:
        """What became of the messages, for `figures`; nothing where nobody was told."""
        return {} if self.messages is None else {f"messages_{k}": n for k, n in self.messages._asdict().items()}


class RunOutputs:
    """A run's maps, its rows as JSON and CSV, and the place of its page; of one line or of a plant. A context manager.

    What the request does not place goes into one new folder of `runs`. The folders are made.

    Args:
        request: says where each goes, and whether maps are wanted.
        runs: the folder below the home that holds a folder for each such run.

    Raises:
        StorageError: a folder cannot be made.
    """

    def __init__(self, request: ScoreRequest | ScorePlantRequest, runs: Path) -> None:
        self.started_at = datetime.now(UTC)
        self.report = report_path(request.report, runs, self.started_at)
        stem = "results" if request.report is None else self.report.stem
        self.json_path = (request.json_path or self.report.with_name(f"{stem}.json")).absolute()
        self.csv_path = (request.csv_path or self.report.with_name(f"{stem}.csv")).absolute()
        for path in (self.json_path, self.csv_path):
            make_folder_of(path)
        self._runs = runs
        self._maps = request.maps
        self._rows = RowSpool()

    def __enter__(self) -> Self:
        self._rows.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.__exit__(kind, error, trace)

    def take(self, result: ImageResult, view: ImageView | None, *, line: str, version: str) -> None:
        """Keep an image's row for the end, and write its map now, if it is wanted.

        Raises:
            StorageError: the map cannot be written.
        """
        self._rows.add(result, line=line, bundle_version=version)
        if view is not None and self._maps is not None:
            write_map(map_path(self._maps, result.name), view.upright_map, result.sha256)

    def finish(self, result: RunResult, write_page: Callable[[Sequence[str]], None], *, keep: int) -> None:
        """Write all rows, with the result's figures at the JSON's head, then the page; drop old folders of runs.

        Args:
            result: of the run.
            write_page: called with the names of the row files that lie in the page's own folder, to point at.
            keep: see `drop_old_reports`.

        Raises:
            StorageError: a file cannot be written.
        """
        self._rows.write_json(self.json_path, result.figures())
        self._rows.write_csv(self.csv_path)
        write_page([path.name for path in (self.json_path, self.csv_path) if path.parent == self.report.parent])
        drop_old_reports(self._runs, keep)


def run_figures(summary: ScoringSummary | PlantSummary, device: str) -> dict[str, int | float | str | None]:
    """A run in numbers, by the names that programs know them by."""
    return {
        **summary.counts.figures(),
        "images_per_second": summary.images_per_second and round(summary.images_per_second, 2),
        "seconds": round(summary.seconds, 3),
        "device": device,
        **({} if (parts := part_counts(summary)) is None else parts.figures()),
    }


def part_counts(summary: ScoringSummary | PlantSummary) -> PartCounts | None:
    """The counts of a run's parts; None: each image was judged by itself."""
    return summary.parts.counts if isinstance(summary.parts, PartsShown) else summary.parts


def report_path(asked: Path | None, runs: Path, started_at: datetime) -> Path:
    """Where the report goes: as asked, else into a new folder in `runs`. The folder is made.

    Raises:
        StorageError: it cannot be made.
    """
    own = runs / f"{started_at:%Y%m%d-%H%M%S-%f}" / "report.html"
    report = own if asked is None else asked.absolute()
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
