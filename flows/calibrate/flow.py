"""The flow `calibrate-line`: new images of a line in, its live version with another threshold out."""

from __future__ import annotations

from prefect import flow, task

from deploy.bundles.facts import Section, facts_of
from deploy.engine.devices import expected_device
from flows.calibrate import job
from flows.calibrate.request import CalibrateRequest
from flows.server.artifacts import Cell, ProgressArtifact, artifact_key, publish_figures
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, retried_on_storage_trouble, tagged
from pipeline.settings import load_settings


@flow(name="calibrate-line", flow_run_name="calibrate {request.line}")
@fails_with_a_sentence
def calibrate_line(request: CalibrateRequest) -> job.CalibrateResult:
    """Wait for the GPU if one is used, set the threshold, say what changes."""
    device = expected_device(request.device, load_settings())
    with tagged(f"line:{request.line}"), queued_for_gpu(device):
        result = calibrate(request)
        show(result)
    return result


@task(
    task_run_name="calibrate {request.line}",
    **retried_on_storage_trouble(5, 30),
)
def calibrate(request: CalibrateRequest) -> job.CalibrateResult:
    """From images to a checked bundle in the registry."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", request.line)))


def show(result: job.CalibrateResult) -> None:
    """A table of what changed."""
    manifest = result.bundle.manifest
    figures: dict[str, Cell] = {"live": result.live, "REJECT from a score of, before": f"{result.before.reject:.6g}"}
    for kind in result.rejected:
        figures[f"{kind.kind} images"] = kind.images
        figures[f"{kind.kind} images rejected, before"] = kind.before
        figures[f"{kind.kind} images rejected, now"] = kind.after
    figures |= {fact.name: fact.value for fact in facts_of(manifest)[Section.DECISION] if fact.brief}
    if result.remarks:
        figures["remarks"] = " ".join(result.remarks)
    publish_figures(artifact_key("calibrate", manifest.line), figures, f"{manifest.line} {manifest.version}")
