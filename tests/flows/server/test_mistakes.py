"""What becomes of a user's mistake in a flow, against one real Prefect API."""

from __future__ import annotations

from pathlib import Path

import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import flow, task  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.exceptions import ParameterTypeError  # noqa: E402
from prefect.flow_engine import run_flow  # noqa: E402
from prefect.logging.loggers import flow_run_logger  # noqa: E402

import flows.adapt.flow  # noqa: E402
import flows.calibrate.flow  # noqa: E402
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest  # noqa: E402
from flows.server import runs  # noqa: E402
from pipeline.errors import ConfigError, LineError, StorageError  # noqa: E402
from tests.flows.adapted_home import LINE, SIZE  # noqa: E402


def test_a_mistake_becomes_the_state_message(prefect_api, adapted_home, caplog):
    request = AdaptRequest(line=LINE, images=Path("/nowhere"), size=SIZE)
    state = flows.adapt.flow.adapt_line(request, return_state=True)
    told = [record for record in caplog.records if "no such folder" in record.getMessage()]
    assert {record.name for record in told} >= {"prefect.task_runs", "prefect.flow_runs"}
    assert not any(record.exc_info for record in told)
    assert state.is_failed()
    assert state.message is not None
    assert state.message.startswith("expected a folder with a product line, got no such folder")
    with pytest.raises(LineError):
        state.result()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"images": "/a", "target_false_reject_rate": 0.01, "missed_defects": 0.1},
            "expected either target-false-reject-rate or missed-defects: each alone sets the threshold, got 0.01 and "
            "0.1: leave one of them out",
        ),
        ({"images": "/a", "missed_defects": 7}, "request.missed_defects: Input should be less than or equal to 0.9"),
        ({"images": "/nowhere"}, "expected a folder with a product line, got no such folder as /nowhere"),
    ],
)
def test_a_mistake_in_a_form_is_logged_without_a_traceback(prefect_api, adapted_home, caplog, wrong, told):
    """As a worker's child runs it, which logs whatever a flow ends with."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("calibrate-line")
        deployment_id = client.create_deployment(flow_id, "wrong", entrypoint="flows.calibrate.flow.calibrate_line")
        run = client.create_flow_run_from_deployment(deployment_id, parameters={"request": {"line": LINE, **wrong}})
        with pytest.raises((ConfigError, LineError, ParameterTypeError)):
            run_flow(flows.calibrate.flow.calibrate_line, flow_run=run, error_logger=flow_run_logger(run))
        state = client.read_flow_run(run.id).state
        client.delete_deployment(deployment_id)
    assert state is not None
    assert state.is_failed()
    assert told in str(state.message)
    logged = [record for record in caplog.records if record.name == "prefect.flow_runs" and record.levelname == "ERROR"]
    assert len(logged) == 1
    assert told in logged[0].getMessage()
    assert not [record for record in caplog.records if record.exc_info]


def test_a_relative_path_that_reaches_a_worker_is_refused(prefect_api, adapted_home, line, monkeypatch):
    """As a worker's child does it: the run of a deployment, taken up by its id."""
    monkeypatch.chdir(line)  # where the folder would be found
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("adapt-line")
        deployment_id = client.create_deployment(flow_id, "relative", entrypoint="flows.adapt.flow.adapt_line")
        asked = {"request": {"line": "near", "images": "train", "size": SIZE}}
        run = client.create_flow_run_from_deployment(deployment_id, parameters=asked)
        state = run_flow(flows.adapt.flow.adapt_line, flow_run=run, parameters=None, return_type="state")
        client.delete_deployment(deployment_id)
    assert isinstance(state, prefect.State)
    assert state.is_failed()
    assert str(state.message).startswith("expected an absolute path for images, got 'train': begin it with /, or ")


def test_a_mistake_outside_a_run_is_raised_as_it_is(tmp_path):
    with pytest.raises(LineError) as caught:
        flows.adapt.flow.adapt_new_lines.fn(AdaptNewLinesRequest(incoming=tmp_path / "incoming"))
    assert str(caught.value) == (
        f"expected a folder of new lines, got no folder {tmp_path}/incoming: make it, or name another"
    )


@pytest.mark.parametrize(("error", "tries"), [(StorageError("a", "b", "c"), 3), (LineError("a", "b", "c"), 1)])
def test_only_storage_trouble_is_tried_again(prefect_api, error, tries):
    calls = []

    @task(retries=2, retry_delay_seconds=0, retry_condition_fn=runs.storage_trouble)
    def work() -> None:
        calls.append(1)
        raise error

    @flow
    @runs.fails_with_a_sentence
    def body() -> None:
        work()

    state = body(return_state=True)
    assert state.message == "expected a, got b: c"
    assert isinstance(state.result(raise_on_failure=False), type(error))
    assert len(calls) == tries


def test_a_bug_is_not_dressed_up(prefect_api):
    @flow
    @runs.fails_with_a_sentence
    def body() -> None:
        raise ZeroDivisionError("our own")

    state = body(return_state=True)
    assert state.is_failed()
    assert "ZeroDivisionError: our own" in str(state.message)
