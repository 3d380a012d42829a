"""The flow `tend-line`: `tend-plant` for one line, beside the runs for other lines. Events have it run.

What the plant's folder is, and when a line is due, stands in one place: the parameters of the deployment `tend-plant`,
which this flow reads when it begins. That a line is not adapted to twice at once is the line's lock's to see
(`flows.life.line_notes`), which whoever tends it holds, command or flow, and which the kernel frees where that one
dies. A run that would have to wait for it would keep other lines from its place: it has the holder look again instead.
"""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_client
from prefect.exceptions import ObjectNotFound
from pydantic import Field

from flows.activities import TEND_LINE_DEPLOYMENT, activity
from flows.life.flow import line_named_by, run_name, tend
from flows.life.job import TendResult
from flows.life.request import TendRequest
from flows.server.runs import fails_with_a_sentence
from pipeline.errors import ConfigError

TENDING = activity("tend").deployment or ""


@flow(name=TEND_LINE_DEPLOYMENT, flow_run_name=run_name)
@fails_with_a_sentence
def tend_line(
    line: Annotated[str, Field(min_length=1, max_length=300)], drifted: bool = False, plant: str = TENDING
) -> TendResult:
    """Run adapt-line for a line if it is due.

    Args:
        line: its name, or an event's resource that names it: what an automation fills in.
        drifted: its production drifted: every-hours need not have passed.
        plant: the deployment of tend-plant whose folder and settings hold.
    """
    request = plants_request(plant)
    asked = {"line": line_named_by(line), "drifted": request.drifted or drifted}
    return tend(request.model_copy(update=asked))


def plants_request(plant: str) -> TendRequest:
    """What a deployment of tend-plant is asked to do.

    Raises:
        ConfigError: there is none of that name on this server, or what it is asked is none of this version's requests.
    """
    with get_client(sync_client=True) as client:
        try:
            parameters = client.read_deployment_by_name(f"{TENDING}/{plant}").parameters
        except ObjectNotFound as missing:
            remedy = "name one, or run `python -m flows.bootstrap`"
            raise ConfigError(f"a deployment {plant!r} of the flow {TENDING}", "none", remedy) from missing
    request = TendRequest.asked(**parameters.get("request", {}))
    request.refuse_relative_paths()
    return request
