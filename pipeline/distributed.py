"""The little that the outer loop needs of torch.distributed; every function is a no-op in a single process."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's number, 0 when alone."""
    return dist.get_rank() if is_distributed() else 0


def mean_over_processes(value: float) -> float:
    """The mean of a figure that every process has: the same for all of them, whatever their rounding."""
    if not is_distributed():
        return value
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes, so that all take the same outer step.

    A parameter without a gradient counts as zero: processes may draw tasks that use different parts of a learner.
    """
    if not is_distributed():
        return
    for parameter in parameters:
        gradient = parameter.grad if parameter.grad is not None else parameter.new_zeros(parameter.shape)
        gradient = gradient.contiguous()  # the processes' kernels may choose different layouts
        dist.all_reduce(gradient)
        parameter.grad = gradient / dist.get_world_size()
