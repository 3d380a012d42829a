"""What every process of a meta-training does: set up lines and learner, prepare its lines' episodes, take the outer
steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from flows.asking.learner_names import UNTRAINED
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train.training_device import on_device
from flows.open_backbone import open_backbone
from flows.progress import OnProgress, Progress, ignore_progress
from flows.source_lines import QUERY_IMAGES, Sources, usable_lines
from model_zoo.learner_table import make_learner
from pipeline.distributed import rank
from pipeline.early_stopping import EarlyStopping
from pipeline.errors import LineError
from pipeline.evaluation import score_levels
from pipeline.features import BackboneSpec
from pipeline.learner import Learner, MetaLearner, OuterStepReport
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import Settings


@dataclass(frozen=True)
class Training:
    """What every training process sets up alike."""

    request: MetaTrainRequest
    learner: Learner
    sources: Sources
    spec: BackboneSpec
    train: tuple[ProductLine, ...]
    held_out: tuple[ProductLine, ...]


Split = tuple[list[ProductLine], list[ProductLine]]
"""Lines to train on, and lines to report metrics on."""


def set_up(request: MetaTrainRequest, settings: Settings, split: Split) -> Training:
    """Backbone, features and a fresh learner for the lines."""
    train, held_out = split
    backbone = open_backbone(request.backbone, request.size, settings)
    sources = Sources(backbone.cached(settings), backbone.preprocess(), (request.good,), request.defects, request.seed)
    learner = make_learner(request.learner.value, backbone.spec, outer_steps=request.iterations, seed=request.seed)
    return Training(request, learner, sources, backbone.spec, tuple(train), tuple(held_out))


def train_in_one_process(
    split: Split, request: MetaTrainRequest, settings: Settings, folder: Path, device: torch.device
) -> None:
    """One process's part of a distributed run; the first leaves its checkpoint in the run folder."""
    training = set_up(request, settings, split)
    learner = training.learner.as_meta()
    assert learner is not None, "only meta-learners are trained in several processes"
    outer_loop(training, learner, prepare_tasks(training, learner, ignore_progress), folder, device, ignore_progress)


def prepare_tasks(training: Training, learner: MetaLearner, on_progress: OnProgress) -> list[SourceTask]:
    """The training lines' episodes; in several processes those of this process's lines."""
    lines = training.train[rank() :: training.request.processes]
    tasks: list[SourceTask] = []
    for done, line in enumerate(lines):
        on_progress(Progress(stage="episodes", done=done, total=len(lines)))
        tasks += training.sources.tasks(learner, line)
    on_progress(Progress(stage="episodes", done=len(lines), total=len(lines)))
    return tasks


def outer_loop(
    training: Training,
    learner: MetaLearner,
    tasks: list[SourceTask],
    folder: Path,
    device: torch.device,
    on_progress: OnProgress,
) -> list[OuterStepReport]:
    """The outer loop with the request's settings on a device, resumed where asked."""
    request = training.request

    def tell(step: int, report: OuterStepReport) -> None:
        if step % 10 == 0 or step == request.iterations:
            stage = f"meta-train {request.learner.value}"
            on_progress(Progress(stage=stage, done=step, total=request.iterations, figures={"loss": report.loss}))

    with on_device(learner, device):
        return meta_train(
            learner,
            tasks,
            MetaTrainingConfig(steps=request.iterations, seed=request.seed, validate_every=100),
            run=folder,
            resume=request.resume,
            on_step=tell,
            validate=(lambda: held_out_aurocs(training)) if training.held_out and rank() == 0 else None,
            stopping=early_stopping(training, learner),
        )


def early_stopping(training: Training, learner: MetaLearner) -> EarlyStopping | None:
    """By the held-out lines' episodes, where the request has patience. A learner with outer steps of its own is first
    checked in those: what it adds does not learn before.
    """
    request = training.request
    if not request.patience:
        return None
    tasks = [task.prepared for line in training.held_out for task in training.sources.tasks(learner, line)]
    pooled = learner.config.pooled_steps
    return EarlyStopping(
        lambda: learner.validation_loss(tasks),
        patience=request.patience,
        every=max(1, request.iterations // 20),
        after=pooled if pooled < learner.config.outer_steps else 0,
    )


def held_out_aurocs(training: Training) -> dict[str, float]:
    """Image AUROC of one episode of each held-out line, by "image_auroc <line>", unguarded: what was learned is to be
    seen.
    """
    figures = {}
    for line in training.held_out:
        episode = training.sources.episodes(line, 1)[0]
        head = training.learner.unguarded().adapt(episode.support, seed=0)
        scores = score_levels(head, episode.query.levels).image_score.numpy()
        figures[f"image_auroc {line.name}"] = image_auroc(scores, episode.query.labels.numpy())
    return figures


def split_lines(request: MetaTrainRequest, on_progress: OnProgress) -> Split:
    """The lines to train on, and those to report metrics on: named ones, or one of at least four training lines.

    Raises:
        LineError: no line to train on, or one that cannot be used.
    """
    found = usable_lines(request.lines, on_progress, request.bayer)
    lines = [line for line in found if line.defects or request.learner in UNTRAINED]
    if not lines:
        raise LineError(
            f"product lines with defective images in {request.lines}",
            "none",
            "name a folder of lines (MVTec AD layout), or make some with `linewise synthetic`",
        )
    if request.validation_lines is not None:
        validated = usable_lines(request.validation_lines, on_progress, request.bayer)
        return lines, [line for line in validated if line.defects]
    enough = len(lines) >= 4 and len(lines[-1].defects) > QUERY_IMAGES // 4
    return (lines[:-1], lines[-1:]) if enough else (lines, [])
