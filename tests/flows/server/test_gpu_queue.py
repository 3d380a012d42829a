"""Which device a run takes where, and whether it waits for its turn on a GPU."""

from __future__ import annotations

import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect import flow  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402

import flows.score.flow  # noqa: E402
import flows.score.job  # noqa: E402
import flows.score.plant_flow  # noqa: E402
from flows.score.request import ScorePlantRequest, ScoreRequest  # noqa: E402
from flows.server import runs  # noqa: E402
from flows.server.work_pool import create_gpu_queue  # noqa: E402
from pipeline.errors import LineError  # noqa: E402
from pipeline.settings import Device  # noqa: E402
from tests.flows.adapted_home import LINE  # noqa: E402
from tests.parts.gpu import cuda_works, without_gpu  # noqa: E402


def test_gpu_runs_queue_and_need_their_limit(prefect_api):
    held = []

    @flow
    @runs.fails_with_a_sentence
    def body() -> int:
        with runs.queued_for_gpu(Device.CUDA), get_client(sync_client=True) as client:
            held.append(client.read_global_concurrency_limit_by_name(runs.GPU_LIMIT).active_slots)
        return 1

    state = body(return_state=True)
    assert "prefect gcl create linewise-gpu" in str(state.message)
    with get_client(sync_client=True) as client:
        create_gpu_queue(client)
        create_gpu_queue(client)
    assert body() == 1
    assert held == [1]

    @flow
    @runs.fails_with_a_sentence
    def on_two() -> None:
        with runs.queued_for_gpu(Device.CUDA, places=2):
            pass

    assert "at least 2, one for each process, got 1: run `prefect gcl update" in str(on_two(return_state=True).message)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
@without_gpu
def test_a_worker_told_a_device_that_is_not_there_fails_and_does_not_score_elsewhere(
    prefect_api, adapted_home, line, monkeypatch, device
):
    monkeypatch.setenv("LINEWISE_DEVICE", device)
    of_line = ScoreRequest(line=LINE, images=str(line / "test"), workers=1)
    of_plant = ScorePlantRequest(images=line / "test", workers=1)
    states = [
        flows.score.flow.score_folder(of_line, return_state=True),
        flows.score.plant_flow.score_plant(of_plant, return_state=True),
    ]
    for state in states:
        assert state.is_failed()
        assert str(state.message).startswith(f"expected a working {device} device, got ")


def test_a_worker_told_cpu_scores_there_and_waits_for_no_gpu(prefect_api, adapted_home, line, monkeypatch):
    monkeypatch.setenv("LINEWISE_DEVICE", "cpu")
    waited_for = []
    monkeypatch.setattr(runs, "concurrency", lambda name, **_: waited_for.append(name))
    request = ScoreRequest(line=LINE, images=str(line / "test"), workers=1)
    assert flows.score.flow.score_folder(request).device == "running on the CPU, as asked"
    assert waited_for == []


@without_gpu
def test_auto_that_takes_the_cpu_waits_for_no_gpu(prefect_api, adapted_home, line, monkeypatch):
    waited_for = []
    monkeypatch.setattr(runs, "concurrency", lambda name, **_: waited_for.append(name))
    request = ScoreRequest(line=LINE, images=str(line / "test"), workers=1)
    assert flows.score.flow.score_folder(request).device.startswith("running on the CPU: CUDA does not work here (")
    assert waited_for == []


@pytest.mark.gpu
def test_auto_that_takes_a_gpu_waits_for_it(prefect_api, adapted_home, line, monkeypatch):
    if not cuda_works():
        pytest.skip("needs a GPU that onnxruntime can use")
    held = []

    def job(*_: object) -> int:
        with get_client(sync_client=True) as client:
            held.append(client.read_global_concurrency_limit_by_name(runs.GPU_LIMIT).active_slots)
        raise LineError("a", "b", "c")

    monkeypatch.setattr(flows.score.job, "run", job)
    with get_client(sync_client=True) as client:
        create_gpu_queue(client)
    flows.score.flow.score_folder(ScoreRequest(line=LINE, images=str(line / "test")), return_state=True)
    assert held == [1]
