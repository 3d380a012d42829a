"""Rows of finished folds on disk, so that an evaluation of hours that is interrupted does not start again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from deploy.bundles.manifest import linewise_version
from flows.evaluate.request import EvaluateRequest
from pipeline.evaluation import Row
from pipeline.storage import replace_file, storage_errors

_MEANING = 4
"""Raised where equal settings come to mean another evaluation. 2: `iterations` are all outer steps, pooled ones too. 3:
lines are without what cannot be used. 4: where no unlabelled image is taken up, the threshold rests on the source
lines."""


class FoldRows:
    """The finished folds of one request, in a folder that is named by it and deleted when the evaluation is complete.

    Args:
        runs: where run folders lie.
        request: where outputs go and how many processes share the work do not make it another evaluation.
    """

    def __init__(self, runs: Path, request: EvaluateRequest) -> None:
        same = request.model_dump(mode="json", exclude={"processes", "json_path", "csv_path", "html_path"})
        digest = hashlib.sha256(json.dumps([linewise_version(), _MEANING, same], sort_keys=True).encode()).hexdigest()
        self._folder = runs / f"evaluation-{digest[:12]}"

    def has(self, fold: str) -> bool:
        """Whether that fold is finished."""
        return self._path(fold).is_file()

    def keep(self, fold: str, rows: Sequence[Row]) -> None:
        """Write a finished fold's rows.

        Raises:
            StorageError: the folder cannot be written.
        """
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._path(fold), json.dumps(rows).encode())

    def finish(self, folds: Sequence[str]) -> list[Row]:
        """All rows in the folds' order; the folder goes.

        Raises:
            StorageError: a file cannot be read.
        """
        with storage_errors(self._folder):
            rows = [row for fold in folds for row in json.loads(self._path(fold).read_text())]
            shutil.rmtree(self._folder)
        return rows

    def _path(self, fold: str) -> Path:
        plain = re.sub(r"[^A-Za-z0-9-]+", "-", fold)[:60]
        return self._folder / f"{plain}-{hashlib.sha256(fold.encode()).hexdigest()[:8]}.json"
