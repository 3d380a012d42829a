"""Meta-training in several processes: each prepares and draws episodes of its lines, gradients are averaged.

The processes talk through torch.distributed: gloo between CPUs, NCCL between GPUs with one process each. They meet over
a file in the run folder.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessException, start_processes

from pipeline.errors import ConfigError
from pipeline.learner import MetaLearner, OuterStepReport
from pipeline.settings import Settings

if TYPE_CHECKING:
    from flows.meta_train.request import MetaTrainRequest
    from flows.meta_train.training_device import TrainingPlace


OneProcess = Callable[["MetaTrainRequest", Settings, Path, torch.device], None]
"""One process's part of the run on its device: an importable function."""

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another: one with larger lines reaches its first outer step so much later, and the first
one validates between steps."""


def in_processes(
    one_process: OneProcess,
    request: MetaTrainRequest,
    settings: Settings,
    folder: Path,
    learner: MetaLearner,
    place: TrainingPlace,
) -> list[OuterStepReport]:
    """Run `one_process` in `place.processes` processes, then take the first one's checkpoint into `learner`.

    Raises:
        ConfigError: a process failed; its own sentence, or the signal that ended it, is in the message.
    """
    meeting = folder / ".meeting"
    meeting.unlink(missing_ok=True)
    try:
        start_processes(
            _worker,
            (one_process, request, settings, folder, meeting, place),
            nprocs=place.processes,
            start_method="spawn",
        )
    except ProcessException as error:
        raise ConfigError(
            f"{place.processes} training processes to finish",
            str(error).strip().splitlines()[-1],
            "mend what it says",
        ) from error
    finally:
        meeting.unlink(missing_ok=True)
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    stopping = state.get("stopping")  # with early stopping the best weights count, not the last
    learner.load_state_dict(stopping["weights"] if stopping and stopping["weights"] else state["weights"])
    return [OuterStepReport(**report) for report in state["reports"]]


def _worker(
    rank: int,
    one_process: OneProcess,
    request: MetaTrainRequest,
    settings: Settings,
    folder: Path,
    meeting: Path,
    place: TrainingPlace,
) -> None:
    torch.set_num_threads(1)
    device = place.device(rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        place.backend,
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=place.processes,
        timeout=PATIENCE,
        device_id=device if device.type == "cuda" else None,  # NCCL then connects now, not after all is prepared
    )
    try:
        one_process(request, settings, folder, device)
    finally:
        dist.destroy_process_group()
