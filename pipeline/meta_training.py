"""Meta-training: the outer loop over episodes. One screen, read top to bottom: `meta_train`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.distributed import rank
from pipeline.early_stopping import EarlyStopping
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.learner import MetaLearner, OuterStepReport
from pipeline.storage import make_folder_of, replace_file


@dataclass(frozen=True, kw_only=True)
class MetaTrainingConfig:
    """The outer loop's settings.

    Args:
        steps: outer steps. tasks_per_step: episodes each averages over.
        seed: of the order of episodes; the learner has its own.
        checkpoint_every: outer steps between checkpoints.
        validate_every: outer steps between calls of `validate`; 0: never.
    """

    steps: int
    tasks_per_step: int = 1
    seed: int = 0
    checkpoint_every: int = 100
    validate_every: int = 0


@dataclass(frozen=True)
class SourceTask:
    """An episode after `MetaLearner.prepare`, with where it is from."""

    data_set: str
    line: str
    prepared: Any


def meta_train(
    learner: MetaLearner,
    tasks: Sequence[SourceTask],
    config: MetaTrainingConfig,
    *,
    run: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, OuterStepReport], None] | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    stopping: EarlyStopping | None = None,
) -> list[OuterStepReport]:
    """Run the outer loop.

    Args:
        learner: is changed in place.
        tasks: to draw from.
        config: settings.
        run: folder for losses and checkpoints; None keeps nothing.
        resume: go on from the run folder's checkpoint, exactly as if it had not been interrupted; on another device
            than before, but for rounding.
        on_step: called after every step.
        validate: metrics of a held-out line, logged every `validate_every` steps.
        stopping: ends the loop early, and leaves the learner with its best weights; None: all steps are taken.

    Returns:
        One report per step taken, those before a resume included.
    """
    if not tasks:
        raise ConfigError("episodes to meta-train on", "none", "name a folder with product lines that hold defects")
    draw = _draws(tasks, config)
    reports: list[OuterStepReport] = []
    if resume and run is not None:
        reports = _load_checkpoint(run, learner, config, stopping)
        for _ in reports:  # the draws of the steps already taken, so that the rest follows as it would have
            next(draw)

    for step in range(len(reports), config.steps):
        if stopping is not None and stopping.stopped:
            break
        report = learner.outer_step(next(draw))
        if validate is not None and config.validate_every and (step + 1) % config.validate_every == 0:
            report = OuterStepReport(loss=report.loss, figures=report.figures | validate())
        if stopping is not None:
            report = OuterStepReport(loss=report.loss, figures=report.figures | stopping.check(step + 1, learner))
        reports.append(report)
        if on_step is not None:
            on_step(step + 1, report)
        last = step + 1 == config.steps or (stopping is not None and stopping.stopped)
        if run is not None and rank() == 0 and (last or (step + 1) % config.checkpoint_every == 0):
            _save_checkpoint(run, learner, config, reports, stopping)
    if stopping is not None:
        stopping.keep_best(learner)
    return reports


def _draws(tasks: Sequence[SourceTask], config: MetaTrainingConfig) -> Iterator[list[Any]]:
    """Endless batches of tasks: a data set first, then one of its episodes.

    Data sets with many lines count more, but only by the square root of their number, so that forty generated lines do
    not drown three real ones.
    """
    by_set: dict[str, list[SourceTask]] = {}
    for task in tasks:
        by_set.setdefault(task.data_set, []).append(task)
    names = sorted(by_set)
    weight = np.sqrt([len({task.line for task in by_set[name]}) for name in names])
    rng = np.random.default_rng([config.seed, rank()])
    while True:
        batch = []
        for _ in range(config.tasks_per_step):
            of_set = by_set[names[rng.choice(len(names), p=weight / weight.sum())]]
            batch.append(of_set[rng.integers(len(of_set))].prepared)
        yield batch


def _save_checkpoint(
    run: Path,
    learner: MetaLearner,
    config: MetaTrainingConfig,
    reports: list[OuterStepReport],
    stopping: EarlyStopping | None,
) -> None:
    """Weights, outer optimiser and losses, in one file that replaces the last in one step."""
    target, content = run / "checkpoint.pt", io.BytesIO()
    torch.save(
        {
            "weights": learner.state_dict(),
            "outer": learner.outer_state(),
            "reports": [asdict(report) for report in reports],
            "config": asdict(config),
            **({} if stopping is None else {"stopping": stopping.state()}),
        },
        content,
    )
    lines = [json.dumps({"step": i + 1, "loss": r.loss, **r.figures}) for i, r in enumerate(reports)]
    make_folder_of(target)
    replace_file(target, content.getvalue())
    replace_file(run / "losses.jsonl", ("\n".join(lines) + "\n").encode(), durable=False)


def _load_checkpoint(
    run: Path, learner: MetaLearner, config: MetaTrainingConfig, stopping: EarlyStopping | None
) -> list[OuterStepReport]:
    path = run / "checkpoint.pt"
    if not path.exists():
        raise StorageError(f"a checkpoint in {run}", "none", "start without --resume, or name the right run folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # written on a GPU or not
        learner.load_state_dict(state["weights"])
        learner.load_outer_state(state["outer"])
    except Exception as error:
        raise BundleError(
            f"a checkpoint of this learner in {path}", f"{type(error).__name__}", "start afresh without --resume"
        ) from error
    changed = {k for k, v in asdict(config).items() if k != "steps" and state["config"].get(k) != v}
    if changed:
        raise ConfigError(
            "the settings the run began with",
            f"others for {', '.join(sorted(changed))}",
            "resume with the same settings",
        )
    if stopping is not None and "stopping" in state:
        stopping.load_state(state["stopping"])
    return [OuterStepReport(**report) for report in state["reports"]]
