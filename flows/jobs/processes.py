"""Meta-training in several processes: each prepares and draws its share of the episodes, gradients are averaged.

The processes talk through torch.distributed (gloo) over a file in the run folder; no port is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessRaisedException, start_processes

from pipeline.errors import ConfigError
from pipeline.learner import OuterStepReport
from pipeline.settings import Settings

if TYPE_CHECKING:
    from flows.jobs.requests import MetaTrainRequest
    from model_zoo.task_learner import TaskLearner


Share = Callable[["MetaTrainRequest", Settings, Path], None]
"""One process's part of the run: an importable function."""


def in_processes(
    share: Share, request: MetaTrainRequest, settings: Settings, folder: Path, learner: TaskLearner
) -> list[OuterStepReport]:
    """Run `share` in `request.processes` processes, then take the first one's checkpoint into `learner`.

    Raises:
        ConfigError: a process failed; its own sentence is above.
    """
    meeting = folder / ".meeting"
    meeting.unlink(missing_ok=True)
    try:
        start_processes(
            _worker, (share, request, settings, folder, meeting), nprocs=request.processes, start_method="spawn"
        )
    except ProcessRaisedException as error:
        raise ConfigError(
            f"{request.processes} training processes to finish",
            str(error).strip().splitlines()[-1],
            "mend what it says",
        ) from error
    finally:
        meeting.unlink(missing_ok=True)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    learner.load_state_dict(state["weights"])
    return [OuterStepReport(**report) for report in state["reports"]]


def _worker(
    rank: int, share: Share, request: MetaTrainRequest, settings: Settings, folder: Path, meeting: Path
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=request.processes,
        timeout=timedelta(minutes=30),
    )
    try:
        share(request, settings, folder)
    finally:
        dist.destroy_process_group()
