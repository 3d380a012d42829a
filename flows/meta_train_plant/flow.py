"""The flow `meta-train-plant`: the plant's lines in; a new live meta-model, or the reasons why there is none, out."""

from __future__ import annotations

from prefect import flow, task
from prefect.context import FlowRunContext
from prefect.states import Completed

from flows.meta_train_plant import job
from flows.meta_train_plant.meta_model_gate import in_points
from flows.meta_train_plant.request import MetaTrainPlantRequest
from flows.meta_train_plant.show import comparison_rows
from flows.server.artifacts import ProgressArtifact, artifact_key, plain, publish_markdown
from flows.server.gate_artifact import HELD
from flows.server.late_runs import skip_late_runs
from flows.server.left_task_runs import sweep_task_runs
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.settings import load_settings


@flow(name="meta-train-plant", flow_run_name="meta-train {request.learner.value} on the plant")
@fails_with_a_sentence
def meta_train_plant(request: MetaTrainPlantRequest) -> job.MetaTrainPlantResult:
    """Learn the plant's own meta-model, compare it on held-out lines, promote it or hold it, and show why."""
    skip_late_runs()
    sweep_task_runs()
    with tagged(f"learner:{request.learner.value}"):
        result = learn(request)
        publish_markdown(artifact_key("plant-meta-model", result.learner), _page(result), "The plant's own meta-model")
    if result.reasons and FlowRunContext.get() is not None:
        return Completed(name=HELD, message=result.sentence, data=result)  # type: ignore[return-value]  # Prefect takes a state as the result
    return result


@task(task_run_name="meta-train {request.learner.value}", persist_result=False)
def learn(request: MetaTrainPlantRequest) -> job.MetaTrainPlantResult:
    """Compare and learn. Not retried: next week's run does it again."""
    progress = ProgressArtifact(artifact_key("progress", "plant", request.learner.value))
    return job.run(request, load_settings(), progress)


def _page(result: job.MetaTrainPlantResult) -> str:
    parts = [f"**{plain(result.sentence)}**"]
    if (comparison := result.comparison) is not None:
        rows = [f"| held-out line | {plain(comparison.present)} | candidate |", "| --- | ---: | ---: |"]
        rows += [f"| {' | '.join(map(plain, row))} |" for row in comparison_rows(result)]
        parts += [
            "Image AUROC / missed defects / false rejects at the promised rate, per cent; each line judged by what the "
            "other lines taught.",
            "\n".join(rows),
            f"Image AUROC: {plain(in_points(comparison.auroc_gain))}. "
            f"Missed defects: {plain(in_points(comparison.more_missed))}. 95 % intervals over lines.",
        ]
    left_out = [f"- {count:,} images {plain(reason)}" for reason, count in result.left_out.items()]
    if left_out:
        parts += ["Left out:", "\n".join(left_out)]
    parts += [plain(remark) for remark in result.remarks]
    return "\n\n".join(parts)
