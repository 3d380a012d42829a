"""Sinusoid regression with the learners' equations, on the networks of tests/model_zoo/sinusoids.py.

Run from the repository root: `OMP_NUM_THREADS=1 python -m benchmarks.toy_regression [--write]`; seven minutes of one
core. `--write` puts the figures into toy_regression.md.
"""

from __future__ import annotations

import time

import torch

from benchmarks.study import Study, options
from benchmarks.tables import table, table_row
from tests.model_zoo import sinusoids as toy

STEPS = (1, 5, 10)
SHOTS = (5, 10)
FINN = (1.0, 1.0)
LI = (0.8, 1.2)
METHODS: list[tuple[str, type[toy.Pooled], int]] = [
    ("pooled training, best of 5 inner rates", toy.Pooled, 4000),
    ("MAML", toy.Maml, 4000),
    ("first-order MAML", toy.FirstOrderMaml, 4000),
    ("Reptile", toy.Reptile, 1500),
    ("Meta-SGD", toy.MetaSgd, 4000),
    ("BMAML, query loss", toy.Bmaml, 700),
    ("BMAML, chaser loss", toy.ChaserBmaml, 700),
    ("ABML", toy.Abml, 700),
]
PUBLISHED = {
    ("MAML", 5): "1.13 ± 0.18",
    ("MAML", 10): "0.77 ± 0.11",
    ("Meta-SGD", 5): "0.90 ± 0.16",
    ("Meta-SGD", 10): "0.53 ± 0.09",
}


def trained(method: type[toy.Pooled], iterations: int, shots: int, frequencies: tuple[float, float]) -> toy.Pooled:
    """The method after its outer steps; pooled training with its best inner rate."""
    learner = method(torch.Generator().manual_seed(0))
    learner.meta_train(iterations, shots, frequencies=frequencies)
    if method is toy.Pooled:
        learner.take_best_rate(toy.unseen_tasks(600, shots, seed=1, frequencies=frequencies), 5)
    return learner


def cell(errors: torch.Tensor) -> str:
    """Mean and 95 % interval."""
    return f"{errors.mean():.2f} ± {1.96 * errors.std() / len(errors) ** 0.5:.2f}"


def measure(
    label: str, method: type[toy.Pooled], iterations: int, shots: int, frequencies: tuple[float, float]
) -> list[str]:
    """Train a method and judge it on unseen tasks: its row."""
    start = time.process_time()
    learner = trained(method, iterations, shots, frequencies)
    seconds = time.process_time() - start
    tasks = toy.unseen_tasks(600, shots, seed=2, frequencies=frequencies)
    cells = [cell(learner.errors(tasks, steps)) for steps in STEPS]
    published = [PUBLISHED[label, shots]] if frequencies == LI else []
    row = [label, f"{shots}", f"{iterations}", f"{seconds:.0f}", *cells, *published]
    print(table_row(row), flush=True)
    return row


def main() -> None:
    """Print a row as it is found, then the page."""
    study = Study(__file__, options(__doc__, lines=False))
    torch.set_num_threads(1)
    finn = [measure(*row, shots, FINN) for shots in SHOTS for row in METHODS]
    li = [measure(*row, shots, LI) for shots in SHOTS for row in METHODS if row[1] in (toy.Maml, toy.MetaSgd)]
    columns = ("method", "shots", "outer steps", "CPU s", "1 step", "5 steps", "10 steps")
    study.publish(
        "## Finn et al. 2017, section 5.1: amplitude and phase vary",
        table(columns, finn),
        "## Li et al. 2017, section 4.1: the frequency varies too",
        table([*columns, "published, 1 step"], li),
    )


if __name__ == "__main__":
    main()
