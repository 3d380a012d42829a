"""The files an evaluation was asked to write."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.evaluate.figures.evaluation_page import write_csv, write_html
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.request import EvaluateRequest, Scenario
from pipeline.errors import StorageError
from pipeline.storage import replace_file


def require_writable(request: EvaluateRequest) -> None:
    """Make the output folders, so that an evaluation of hours does not end at a name that cannot be written.

    Raises:
        StorageError: a file cannot be written where the request wants it.
    """
    for path in (request.json_path, request.csv_path, request.html_path):
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"a folder to write {path} into", reason, "name another file") from error
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            reason = "a folder" if path.is_dir() else "a folder that cannot be written"
            raise StorageError(f"to write the file {path}", reason, "name another file")


def write_outputs(request: EvaluateRequest, evaluation: Evaluation, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """Write what the request asks for; return the files.

    Raises:
        StorageError: a file cannot be written.
    """
    written = []
    if request.json_path is not None:
        replace_file(request.json_path, rows_as_json(rows))
        written.append(request.json_path)
    if request.csv_path is not None:
        write_csv(request.csv_path, evaluation)
        written.append(request.csv_path)
    if request.html_path is not None:
        beside = [path.name for path in written if path.parent == request.html_path.parent]
        write_html(request.html_path, evaluation, about=about(request), files=beside)
        written.append(request.html_path)
    return written


def about(request: EvaluateRequest) -> dict[str, str]:
    """The request's settings in words, for the page."""
    left_out = {"json_path", "csv_path", "html_path"}
    if request.scenario is not Scenario.DOMAIN_SHIFT:
        left_out |= {"shifts", "shift_strength"}
    left_out |= {"protocol"} if request.scenario is Scenario.INCREMENTAL else {"arrival_iterations"}
    fields = request.model_dump(mode="json", exclude=left_out, exclude_none=True)
    return {
        name.replace("_", " "): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in fields.items()
    }


def rows_as_json(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows as a JSON list, one row a line; a figure that is not defined (nan) is null."""
    lines = [json.dumps({name: _json(value) for name, value in row.items()}, allow_nan=False) for row in rows]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def _json(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
