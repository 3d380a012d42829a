"""The flow `gate-line`: a new version of a line in; live, or held with its reasons, out."""

from __future__ import annotations

from prefect import flow, task

from deploy.engine.devices import expected_device
from flows.gate import job
from flows.gate.request import GateRequest
from flows.server.artifacts import ProgressArtifact, artifact_key
from flows.server.gate_artifact import ended, show_gate
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, retried_on_storage_trouble, tagged
from pipeline.settings import load_settings


@flow(name="gate-line", flow_run_name="gate {request.line}")
@fails_with_a_sentence
def gate_line(request: GateRequest) -> job.GateResult:
    """Wait for the GPU if one is used, compare, promote or hold, and show why."""
    settings = load_settings()
    with tagged(f"line:{request.line}"), queued_for_gpu(expected_device(request.device, settings)):
        result = judge_candidate(request)
        show_gate(result, settings)
    return ended(result, result)


@task(task_run_name="gate {request.line}", **retried_on_storage_trouble(5, 30))
def judge_candidate(request: GateRequest) -> job.GateResult:
    """Compare the versions on what neither has learned, and decide."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", request.line)))
