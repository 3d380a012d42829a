"""The flow `roll-back-meta-model`: the plant's meta-model of a learner, one version back."""

from __future__ import annotations

from prefect import flow

from flows.roll_back_meta_model import job
from flows.roll_back_meta_model.request import RollBackMetaModelRequest
from flows.server.artifacts import artifact_key, publish_figures
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.settings import load_settings


@flow(name="roll-back-meta-model", flow_run_name="roll back the meta-model of {request.learner.value}")
@fails_with_a_sentence
def roll_back_meta_model(request: RollBackMetaModelRequest) -> job.RollBackMetaModelResult:
    """Roll back, and show what is live."""
    with tagged(f"learner:{request.learner.value}"):
        result = job.run(request, load_settings())
        figures = {"live": result.live, "rolled back": result.rolled_back, "by": request.by, "why": request.why}
        publish_figures(artifact_key("roll-back-meta-model", result.learner), figures, result.sentence)
    return result
