"""Two processes that average their gradients take the steps that one takes on all of their episodes."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

import torch.distributed as dist  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.multiprocessing.spawn import start_processes  # noqa: E402

from pipeline.distributed import average_gradients, mean_over_processes  # noqa: E402

STEPS, EPISODES = 5, 4


def episode(step: int, number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 * step + number)
    return torch.randn(6, 3, generator=generator), torch.randn(6, 1, generator=generator)


def train(mine: range) -> tuple[nn.Module, float]:
    """The weights after some steps on the mean loss of these episodes of each step, and the last loss."""
    torch.manual_seed(0)
    model, unused = nn.Linear(3, 1), nn.Parameter(torch.zeros(2))
    parameters = [*model.parameters(), unused]
    optimiser = torch.optim.Adam(parameters, lr=0.05)
    loss = torch.zeros(())
    for step in range(STEPS):
        optimiser.zero_grad()
        losses = [nn.functional.mse_loss(model(x), y) for x, y in (episode(step, number) for number in mine)]
        loss = torch.stack(losses).mean()
        loss.backward()
        average_gradients(parameters)
        optimiser.step()
    assert torch.equal(unused, torch.zeros(2)), "no process had a gradient of it"
    return model, mean_over_processes(loss.item())


def worker(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    model, loss = train(range(rank, EPISODES, 2))
    torch.save({**model.state_dict(), "loss": torch.tensor(loss)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_learn_what_one_learns_of_the_same_episodes(tmp_path: Path):
    start_processes(worker, (tmp_path,), nprocs=2, start_method="spawn")
    model, loss = train(range(EPISODES))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in {**model.state_dict(), "loss": torch.tensor(loss)}.items():
        assert torch.equal(first[name], second[name]), "the processes stay together"
        assert torch.allclose(first[name], value, atol=1e-6)
