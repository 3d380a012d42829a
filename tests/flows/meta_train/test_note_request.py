"""Going on with a run folder that another version of Linewise made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.meta_train.job import note_request
from flows.meta_train.request import MetaTrainRequest
from pipeline.errors import ConfigError


def test_a_run_from_before_a_setting_existed_had_its_default(tmp_path: Path):
    request = MetaTrainRequest(lines=Path("lines"), iterations=50)
    note_request(tmp_path, request)
    noted = json.loads((tmp_path / "request.json").read_text())
    del noted["patience"], noted["validation_lines"]
    (tmp_path / "request.json").write_text(json.dumps(noted))
    resumed = request.model_copy(update={"resume": True})
    note_request(tmp_path, resumed)
    with pytest.raises(ConfigError, match="repeat its settings"):
        note_request(tmp_path, resumed.model_copy(update={"patience": 3}))


@pytest.mark.parametrize("noted", ['{"lines": "lines", "colour": "red"}', "[]", "no JSON"])
def test_a_run_with_a_setting_that_is_gone_is_another(tmp_path: Path, noted: str):
    (tmp_path / "request.json").write_text(noted)
    with pytest.raises(ConfigError, match="repeat its settings"):
        note_request(tmp_path, MetaTrainRequest(lines=Path("lines"), resume=True))


def test_folders_whose_names_are_not_utf8_are_noted_and_resumed(tmp_path: Path):
    request = MetaTrainRequest(lines=Path("lines\udcff"), output=Path("run\udcfe"))
    note_request(tmp_path, request)
    note_request(tmp_path, request.model_copy(update={"resume": True}))
    with pytest.raises(ConfigError, match="repeat its settings"):
        note_request(tmp_path, request.model_copy(update={"resume": True, "lines": Path("lines\udcfd")}))
