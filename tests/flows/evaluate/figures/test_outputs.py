"""The files that an evaluation writes."""

from __future__ import annotations

import json

import pytest

from flows.evaluate.output_files import require_writable, rows_as_json
from flows.evaluate.request import EvaluateRequest
from pipeline.errors import StorageError


def test_rows_as_json_is_a_list_with_null_for_undefined():
    rows = json.loads(rows_as_json([{"line": "a", "aupro": float("nan"), "image_auroc": 0.5}]))
    assert rows == [{"line": "a", "aupro": None, "image_auroc": 0.5}]


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    require_writable(EvaluateRequest(lines=tmp_path, json_path=tmp_path / "new" / "rows.json"))
    for path in (tmp_path / "file" / "rows.json", tmp_path):
        with pytest.raises(StorageError):
            require_writable(EvaluateRequest(lines=tmp_path, json_path=path))
