"""A run's result rows, kept on disk while the run goes on, so that a million images need no memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from deploy.reports.rows import ReportRow, write_csv, write_json
from deploy.scoring.image_result import ImageResult
from pipeline.calibration import Decision
from pipeline.regions import Region
from pipeline.storage import storage_errors


class RowSpool:
    """Takes results one by one, then writes them as JSON and CSV. A context manager.

    Raises:
        StorageError: (and likewise all that it does) the folder of temporary files is full or may not be written.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir())
        with storage_errors(self._folder):
            self._file: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # rows that had no room: that was told, and nobody reads them
            self._file.close()

    def add(self, result: ImageResult, *, line: str, bundle_version: str) -> None:
        """Keep one image's result."""
        row = {
            "line": line,
            "bundle_version": bundle_version,
            "path": result.name,
            "sha256": result.sha256,
            "score": result.score,
            "decision": result.decision,
            "reason": result.reason,
            "p_value": result.p_value,
            "kind": None if result.kind is None else result.kind.name,
            "kind_probability": None if result.kind is None else result.kind.probability,
            "regions": [asdict(region) for region in result.regions],
        }
        with storage_errors(self._folder):
            self._file.write(json.dumps(row) + "\n")

    def rows(self) -> Iterator[ReportRow]:
        """The rows, in the order they came."""
        with storage_errors(self._folder):
            self._file.flush()
            self._file.seek(0)
        for line in self._file:
            values = json.loads(line)
            decision = values.pop("decision")
            regions = tuple(map(Region.from_json, values.pop("regions")))
            yield ReportRow(**values, decision=None if decision is None else Decision(decision), regions=regions)

    def write_json(self, path: Path, about: Mapping[str, Any]) -> None:
        """See `deploy.reports.rows.write_json`."""
        write_json(path, dict(about), self.rows())

    def write_csv(self, path: Path) -> None:
        """See `deploy.reports.rows.write_csv`."""
        write_csv(path, self.rows())
