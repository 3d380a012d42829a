"""Where the outer loop of meta-training runs: on the CPU, or on GPUs with one process each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pipeline.errors import ConfigError, DeviceError
from pipeline.learner import MetaLearner
from pipeline.settings import Device


@dataclass(frozen=True)
class TrainingPlace:
    """A device that was seen to work, for a number of processes. `gpu`: name of the first GPU; None: the CPU."""

    processes: int
    gpu: str | None = None

    @property
    def backend(self) -> str:
        """Of torch.distributed, for what several processes average."""
        return "gloo" if self.gpu is None else "nccl"

    def device(self, rank: int = 0) -> torch.device:
        """The device of one process: GPUs are numbered as the processes are."""
        return torch.device("cpu") if self.gpu is None else torch.device("cuda", rank)

    @property
    def note(self) -> str:
        """In words, for the run's outputs."""
        device = "cpu" if self.gpu is None else f"cuda ({self.gpu})"
        return device if self.processes == 1 else f"{device}, {self.processes} processes over {self.backend}"


def training_place(wanted: Device, processes: int) -> TrainingPlace:
    """Find out, by computing on it, whether the wanted device works.

    Raises:
        DeviceError: cuda was asked for by name, and torch cannot use a GPU, or several without NCCL.
        ConfigError: cuda was asked for by name, and there are fewer GPUs than processes.
    """
    if wanted is Device.CPU:
        return TrainingPlace(processes)
    refusal = _refusal(processes)
    if refusal is None:
        return TrainingPlace(processes, torch.cuda.get_device_name(0))
    if wanted is Device.AUTO:
        return TrainingPlace(processes)  # not silent: the run's outputs say where it ran
    raise refusal


def expected_training_device(wanted: Device, processes: int) -> Device:
    """Where `training_place` will most likely find to train, cpu or cuda, told by counting GPUs.

    For a run that must wait for its turn on them: computing, as `training_place` does, takes memory on a GPU.

    Raises:
        DeviceError, ConfigError: as `training_place`, where there is no GPU or too few.
    """
    if wanted is Device.CPU:
        return wanted
    gpus = torch.cuda.device_count()
    refused = too_few(processes, gpus, nccl=dist.is_nccl_available()) if gpus else _refusal(processes)
    if refused is None:
        return Device.CUDA
    if wanted is Device.AUTO:
        return Device.CPU
    raise refused


def _refusal(processes: int) -> DeviceError | ConfigError | None:
    """Why so many processes cannot train on GPUs here, if they cannot."""
    try:
        (torch.ones(2, device="cuda") + 1).tolist()
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        remedy = "mend that (driver, visible GPUs, a torch for this CUDA), or train with --device cpu"
        return DeviceError("a GPU that torch can use", f"none ({reason})", remedy)
    return too_few(processes, torch.cuda.device_count(), nccl=dist.is_nccl_available())


def too_few(processes: int, gpus: int, *, nccl: bool) -> DeviceError | ConfigError | None:
    """Why so many processes cannot share so many GPUs, if they cannot."""
    if processes > gpus:
        got = f"{processes} processes for {gpus}"
        return ConfigError("a GPU for each process", got, "ask for fewer processes, or train with --device cpu")
    if processes > 1 and not nccl:
        remedy = "use one process, or train with --device cpu"
        return DeviceError("NCCL, through which processes on GPUs talk", "a torch without it", remedy)
    return None


@contextmanager
def on_device(learner: MetaLearner, device: torch.device) -> Iterator[None]:
    """The learner on `device` while the block trains it, and back on the CPU when it is done.

    Raises:
        DeviceError: the GPU's memory does not suffice.
    """
    if device.type == "cpu":
        yield
        return
    learner.to_device(device)
    try:
        with _reproducible():
            yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            "a GPU with memory for an outer step",
            str(error).split(". ")[0],
            "free it, ask for a smaller size, or train with --device cpu",
        ) from error
    learner.to_device(torch.device("cpu"))


@contextmanager
def _reproducible() -> Iterator[None]:
    """Equal seeds give equal results on a GPU, and those of the CPU but for rounding: no TF32.

    An operation without a deterministic kernel is warned of, not refused.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it before its first product
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
