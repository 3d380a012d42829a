"""The flow `roll-back`: one line, one version back."""

from __future__ import annotations

from prefect import flow

from flows.roll_back import job
from flows.roll_back.request import RollBackRequest
from flows.server.artifacts import artifact_key, publish_figures
from flows.server.line_events import LineEvent, tell_of_line
from flows.server.runs import fails_with_a_sentence, tagged
from pipeline.settings import load_settings


@flow(name="roll-back", flow_run_name="roll back {request.line}")
@fails_with_a_sentence
def roll_back(request: RollBackRequest) -> job.RollBackResult:
    """Roll back, and tell whoever listens."""
    with tagged(f"line:{request.line}"):
        result = job.run(request, load_settings())
        figures = {"live": result.live, "rolled back": result.rolled_back, "by": request.by, "why": request.why}
        publish_figures(artifact_key("roll-back", request.line), figures, f"{request.line} rolled back")
        tell_of_line(LineEvent.ROLLED_BACK, request.line, version=result.rolled_back, why=request.why or "")
    return result
