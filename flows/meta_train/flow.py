"""The flow `meta-train`: many product lines in, a meta-model out."""

from __future__ import annotations

from prefect import flow, task

from flows.meta_train import job
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train.training_device import expected_training_device
from flows.server.artifacts import ProgressArtifact, artifact_key, plain, publish_figures, publish_table
from flows.server.runs import fails_with_a_sentence, queued_for_gpu, tagged
from pipeline.settings import load_settings

LOSS_POINTS = 50


@flow(name="meta-train", flow_run_name="meta-train {request.learner.value} on {request.lines.name}")
@fails_with_a_sentence
def meta_train(request: MetaTrainRequest) -> job.MetaTrainResult:
    """Wait for the GPUs if any are used, train on the lines, then show the losses and the held-out lines' metrics."""
    device = expected_training_device(request.device, request.processes)
    with tagged(f"learner:{request.learner.value}"), queued_for_gpu(device, places=request.processes):
        result = train(request)
        show(result)
    return result


@task(task_run_name="meta-train {request.learner.value}", persist_result=False)
def train(request: MetaTrainRequest) -> job.MetaTrainResult:
    """Run the outer loop. Not retried: a run that was cut short goes on with `resume`, from its checkpoint."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", request.learner.value)))


def show(result: job.MetaTrainResult) -> None:
    """What was learned from what, and a table of the losses."""
    model = result.model
    figures = {
        "learner": model.learner,
        "meta-model": model.identifier,
        "source lines": len(model.lines),
        "outer steps": model.outer_steps,
        "final loss": model.final_loss,
        **result.held_out,
        "trained on": model.trained_on,
        "seconds": result.seconds,
        "folder": str(result.folder),
    }
    if result.remarks:
        figures["remarks"] = " ".join(result.remarks)
    lines = ", ".join(plain(name) for name in model.lines)
    key, what = artifact_key("meta-model", model.learner), f"Meta-model {model.identifier}"
    publish_figures(key, figures, what, f"Learned from {lines}.")
    if result.losses:
        publish_table(artifact_key("losses", model.learner), loss_table(result.losses), "Mean loss of the outer loop")


def loss_table(losses: tuple[float, ...]) -> list[dict[str, float]]:
    """The losses in at most `LOSS_POINTS` rows, each the mean of equally many steps (the last row of what is left)."""
    width = -(-len(losses) // LOSS_POINTS)
    parts = [losses[start : start + width] for start in range(0, len(losses), width)]
    return [
        {"outer step": min((i + 1) * width, len(losses)), "loss": round(sum(part) / len(part), 5)}
        for i, part in enumerate(parts)
    ]
