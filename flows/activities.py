"""THE table of activities: what the command offers, what runs through Prefect, what a server is given.

An activity is one room of `flows/`: its request, its job (a plain function), the flow around it, and what the terminal
shows. The command makes its flags of the request (`flows.asking.flags`), `--prefect` runs the flow instead of the job,
`flows.bootstrap` registers the flows that `deploy/prefect.yaml` deploys, under these names. All of it is named here and
not imported: the command starts without torch and without Prefect.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flows.asking.request import Request


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One thing that Linewise does.

    Args:
        command: its name on the command line.
        request: the request's class, `module:name`.
        job: `module:function` of (request, settings, on_progress) that returns the result.
        show: `module:function` of (request, result) that tells the result on the terminal and returns the exit code;
            it takes `as_json` where the request has a `json_path`.
        flow: the Prefect flow, `module:name`; None: it never runs through Prefect.
        deployment: of that flow, as `deploy/prefect.yaml` and the Prefect UI call it; None: no flow.
    """

    command: str
    request: str
    job: str
    show: str
    flow: str | None = None
    deployment: str | None = None

    @property
    def request_class(self) -> type[Request]:
        """The request's class."""
        return load(self.request)


ACTIVITIES = (
    Activity(
        command="meta-train",
        request="flows.meta_train.request:MetaTrainRequest",
        job="flows.meta_train.job:run",
        show="flows.meta_train.show:show",
        flow="flows.meta_train.flow:meta_train",
        deployment="meta-train",
    ),
    Activity(
        command="meta-train-plant",
        request="flows.meta_train_plant.request:MetaTrainPlantRequest",
        job="flows.meta_train_plant.job:run",
        show="flows.meta_train_plant.show:show",
        flow="flows.meta_train_plant.flow:meta_train_plant",
        deployment="meta-train-plant",
    ),
    Activity(
        command="adapt",
        request="flows.adapt.request:AdaptRequest",
        job="flows.adapt.job:run",
        show="flows.adapt.show:show",
        flow="flows.adapt.flow:adapt_line",
        deployment="adapt-line",
    ),
    Activity(
        command="adapt-new-lines",
        request="flows.adapt.request:AdaptNewLinesRequest",
        job="flows.adapt.new_lines:run",
        show="flows.adapt.show:show_new_lines",
        flow="flows.adapt.flow:adapt_new_lines",
        deployment="adapt-new-lines",
    ),
    Activity(
        command="tend",
        request="flows.life.request:TendRequest",
        job="flows.life.job:run",
        show="flows.life.show:show",
        flow="flows.life.flow:tend_plant",
        deployment="tend-plant",
    ),
    Activity(
        command="calibrate",
        request="flows.calibrate.request:CalibrateRequest",
        job="flows.calibrate.job:run",
        show="flows.calibrate.show:show",
        flow="flows.calibrate.flow:calibrate_line",
        deployment="calibrate-line",
    ),
    Activity(
        command="threshold",
        request="flows.threshold.request:ThresholdRequest",
        job="flows.threshold.job:run",
        show="flows.threshold.show:show",
        flow="flows.threshold.flow:set_threshold",
        deployment="set-threshold",
    ),
    Activity(
        command="gate",
        request="flows.gate.request:GateRequest",
        job="flows.gate.job:run",
        show="flows.gate.show:show",
        flow="flows.gate.flow:gate_line",
        deployment="gate-line",
    ),
    Activity(
        command="roll-back",
        request="flows.roll_back.request:RollBackRequest",
        job="flows.roll_back.job:run",
        show="flows.roll_back.show:show",
        flow="flows.roll_back.flow:roll_back",
        deployment="roll-back",
    ),
    Activity(
        command="roll-back-meta-model",
        request="flows.roll_back_meta_model.request:RollBackMetaModelRequest",
        job="flows.roll_back_meta_model.job:run",
        show="flows.roll_back_meta_model.show:show",
        flow="flows.roll_back_meta_model.flow:roll_back_meta_model",
        deployment="roll-back-meta-model",
    ),
    Activity(
        command="export",
        request="flows.export.request:ExportRequest",
        job="flows.export.job:run",
        show="flows.export.show:show",
        flow="flows.export.flow:export",
        deployment="export",
    ),
    Activity(
        command="score",
        request="flows.score.request:ScoreRequest",
        job="flows.score.job:run",
        show="flows.score.show:show",
        flow="flows.score.flow:score_folder",
        deployment="score-folder",
    ),
    Activity(
        command="score-plant",
        request="flows.score.request:ScorePlantRequest",
        job="flows.score.plant_job:run",
        show="flows.score.show:show_plant",
        flow="flows.score.plant_flow:score_plant",
        deployment="score-plant",
    ),
    Activity(
        command="watch-drift",
        request="flows.drift.request:WatchDriftRequest",
        job="flows.drift.job:run",
        show="flows.drift.show:show",
        flow="flows.drift.flow:watch_drift",
        deployment="watch-drift",
    ),
    Activity(
        command="evaluate",
        request="flows.evaluate.request:EvaluateRequest",
        job="flows.evaluate.job:run",
        show="flows.evaluate.show:show",
        flow="flows.evaluate.flow:evaluate",
        deployment="evaluate",
    ),
    Activity(
        command="housekeeping",
        request="flows.housekeeping.request:HousekeepingRequest",
        job="flows.housekeeping.job:run",
        show="flows.housekeeping.show:show",
        flow="flows.housekeeping.flow:housekeeping",
        deployment="housekeeping",
    ),
    Activity(
        command="doctor",
        request="flows.doctor.request:DoctorRequest",
        job="flows.doctor.job:run",
        show="flows.doctor.show:show",
    ),
)

SHARD_DEPLOYMENT = "score-shard"
"""What a run of score-folder has other workers do: it has no command, `linewise score --shard` does the same."""

TEND_LINE_DEPLOYMENT = "tend-line"
"""What an event of a line has done: it has no command, `linewise tend --line` does the same."""

DEPLOYMENTS = (
    *(activity.deployment for activity in ACTIVITIES if activity.deployment is not None),
    SHARD_DEPLOYMENT,
    TEND_LINE_DEPLOYMENT,
)
"""Those of `deploy/prefect.yaml`."""


def activity(command: str) -> Activity:
    """The activity of that name on the command line."""
    return next(found for found in ACTIVITIES if found.command == command)


def load(address: str) -> Any:
    """What stands at `module:name`."""
    module, name = address.split(":")
    return getattr(import_module(module), name)
