"""Sinusoid regression with the learners' equations: writes toy_regression.md beside this file.

Run from the repository root: `OMP_NUM_THREADS=1 python -m benchmarks.toy_regression`; seven minutes of one core.
"""

from __future__ import annotations

import subprocess
import time
from datetime import date
from pathlib import Path

import torch

from tests.sinusoid_support import (
    Abml,
    Bmaml,
    ChaserBmaml,
    FirstOrderMaml,
    Maml,
    MetaSgd,
    Pooled,
    Reptile,
    Tasks,
    sample_tasks,
)

STEPS = (1, 5, 10)
SHOTS = (5, 10)
FINN = (1.0, 1.0)
LI = (0.8, 1.2)
METHODS: list[tuple[str, type[Pooled], int]] = [
    ("pooled training, best of 5 inner rates", Pooled, 4000),
    ("MAML", Maml, 4000),
    ("first-order MAML", FirstOrderMaml, 4000),
    ("Reptile", Reptile, 1500),
    ("Meta-SGD", MetaSgd, 4000),
    ("BMAML, query loss", Bmaml, 700),
    ("BMAML, chaser loss", ChaserBmaml, 700),
    ("ABML", Abml, 700),
]
PUBLISHED = {
    ("MAML", 5): "1.13 ± 0.18",
    ("MAML", 10): "0.77 ± 0.11",
    ("Meta-SGD", 5): "0.90 ± 0.16",
    ("Meta-SGD", 10): "0.53 ± 0.09",
}


def test_tasks(shots: int, frequencies: tuple[float, float], *, seed: int) -> Tasks:
    return sample_tasks(600, shots, 100, generator=torch.Generator().manual_seed(seed), frequencies=frequencies)


def trained(method: type[Pooled], iterations: int, shots: int, frequencies: tuple[float, float]) -> Pooled:
    learner = method(torch.Generator().manual_seed(0))
    learner.meta_train(iterations, shots, frequencies=frequencies)
    if method is Pooled:
        validation = test_tasks(shots, frequencies, seed=1)

        def error(rate: float) -> float:
            learner.rate = rate
            return float(learner.errors(validation, 5).mean().nan_to_num(torch.inf))

        learner.rate = min((0.001, 0.003, 0.01, 0.02, 0.03), key=error)
    return learner


def cell(errors: torch.Tensor) -> str:
    return f"{errors.mean():.2f} ± {1.96 * errors.std() / len(errors) ** 0.5:.2f}"


def measure(label: str, method: type[Pooled], iterations: int, shots: int, frequencies: tuple[float, float]) -> str:
    start = time.process_time()
    learner = trained(method, iterations, shots, frequencies)
    seconds = time.process_time() - start
    tasks = test_tasks(shots, frequencies, seed=2)
    cells = " | ".join(cell(learner.errors(tasks, steps)) for steps in STEPS)
    published = f" | {PUBLISHED[label, shots]}" if frequencies == LI else ""
    row = f"| {label} | {shots} | {iterations} | {seconds:.0f} | {cells}{published} |"
    print(row, flush=True)
    return row


def main() -> None:
    torch.set_num_threads(1)
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    finn = [measure(*row, shots, FINN) for shots in SHOTS for row in METHODS]
    li = [measure(*row, shots, LI) for shots in SHOTS for row in METHODS if row[1] in (Maml, MetaSgd)]
    columns = "| method | shots | outer steps | CPU s | 1 step | 5 steps | 10 steps |"
    text = f"""# Sinusoid regression with the learners' equations

{date.today().isoformat()}, commit {commit}, one CPU core, {time.process_time() / 60:.1f} CPU minutes:

    OMP_NUM_THREADS=1 python -m benchmarks.toy_regression

Mean squared error on 100 query points after 1, 5 and 10 inner steps, mean over 600 unseen tasks ± 95 % interval over
tasks; one meta-seed. Every method is meta-trained for one inner step (Reptile: ten) with as many shots as it is tested
with, in batches of 25 tasks. The network is 1 - 40 - 40 - 1 with ReLU, initialised as torch.nn.Linear is.

## Finn et al. 2017, section 5.1: amplitude and phase vary

{columns}
|{"---|" * 7}
{chr(10).join(finn)}

## Li et al. 2017, section 4.1: the frequency varies too

Published: Meta-SGD paper, table 1, as many shots in training as in the test, one inner step.

{columns} published, 1 step |
|{"---|" * 8}
{chr(10).join(li)}
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
