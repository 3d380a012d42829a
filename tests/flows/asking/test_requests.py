"""Requests: what the command's flags leave to them, and what they refuse."""

from pathlib import Path

import pytest

from flows.adapt.request import AdaptRequest
from flows.evaluate.request import EvaluateRequest
from flows.meta_train.request import MetaTrainRequest
from flows.terminal import console
from pipeline.errors import ConfigError


def test_flags_not_given_are_left_to_the_request():
    request = console.build_request(AdaptRequest, line="a", images=Path("b"), size=None, good=None)
    assert request == AdaptRequest(line="a", images=Path("b"))


def test_requests_refuse_unknown_fields_and_changes():
    with pytest.raises(ConfigError, match="expected colour to be"):
        console.build_request(MetaTrainRequest, lines=Path("a"), colour="red")
    request = MetaTrainRequest(lines=Path("a"))
    with pytest.raises(ValueError, match="frozen"):
        request.seed = 3  # type: ignore[misc]


def test_evaluate_request_knows_its_protocol():
    EvaluateRequest(lines=Path("a"))
    with pytest.raises(ConfigError, match="train_lines and test_lines"):
        EvaluateRequest(protocol="train-test", train_lines=Path("a"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one folder of lines"):
        EvaluateRequest(train_lines=Path("a"), test_lines=Path("b"))
