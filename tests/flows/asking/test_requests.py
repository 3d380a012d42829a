"""Requests: what the command's flags leave to them, and what they refuse."""

from pathlib import Path

import pytest

from flows.activities import ACTIVITIES, Activity
from flows.adapt.request import AdaptRequest
from flows.evaluate.request import EvaluateRequest, Protocol
from flows.meta_train.request import MetaTrainRequest
from pipeline.errors import ConfigError


def test_flags_not_given_are_left_to_the_request():
    request = AdaptRequest.asked(line="a", images=Path("b"))
    assert request == AdaptRequest(line="a", images=Path("b"))


def test_requests_refuse_unknown_fields_and_changes():
    with pytest.raises(ConfigError, match="expected an option that --help lists, got colour: correct the name"):
        MetaTrainRequest.asked(lines=Path("a"), colour="red")
    request = MetaTrainRequest(lines=Path("a"))
    with pytest.raises(ValueError, match="frozen"):
        request.seed = 3  # type: ignore[misc]


def test_a_refusal_is_one_sentence_whatever_pydantic_calls_it():
    with pytest.raises(ConfigError, match=r"^expected learners to have at least 1 item, got \(\): change learners$"):
        EvaluateRequest.asked(lines=Path("a"), learners=",")
    with pytest.raises(ConfigError, match=r"^expected line to have at most 80 characters, got 'a+': change line$"):
        AdaptRequest.asked(line="a" * 81, images=Path("b"))


def test_evaluate_request_knows_its_protocol():
    EvaluateRequest(lines=Path("a"))
    with pytest.raises(ConfigError, match="--train-lines and --test-lines, and no --lines, for train-test"):
        EvaluateRequest(protocol="train-test", train_lines=Path("a"))  # type: ignore[arg-type]
    assert EvaluateRequest(train_lines=Path("a"), test_lines=Path("b")).protocol is Protocol.TRAIN_TEST
    with pytest.raises(ConfigError, match=r"--lines, and no .* for leave-one-line-out, got none of them: name one"):
        EvaluateRequest()
    with pytest.raises(ConfigError, match="got --train-lines and --test-lines: name one folder of lines"):
        EvaluateRequest(protocol="leave-one-line-out", train_lines=Path("a"), test_lines=Path("b"))  # type: ignore[arg-type]


@pytest.mark.parametrize("activity", [one for one in ACTIVITIES if one.deployment], ids=lambda one: one.deployment)
def test_what_a_form_must_be_given_has_an_example_there(activity: Activity):
    schema = activity.request_class.model_json_schema()
    titles = {name: field.get("title") for name, field in schema["properties"].items()}
    assert titles == {name: name.replace("_", " ").title() for name in titles}, "without, a form calls it Field"
    needed = schema.get("required", [])
    examples = {name: schema["properties"][name].get("examples") for name in needed}
    assert all(examples.values()), examples
    for name, given in examples.items():  # neither of Prefect's UIs shows a schema's examples, both its description
        assert f"such as {given[0]}" in schema["properties"][name]["description"]
    others = {"lines": "/data/lines"} if activity.command == "evaluate" else {}  # of a protocol
    activity.request_class.asked(**others, **{name: given[0] for name, given in examples.items()})
