"""Meta-training as a job: lines in, a meta-model with pooled calibration out."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from deploy.exporting.export import export_head
from flows.jobs.backbones import open_backbone
from flows.jobs.names import UNTRAINED
from flows.jobs.processes import in_processes
from flows.jobs.progress import OnProgress, Progress, ignore_progress
from flows.jobs.requests import MetaTrainRequest
from flows.jobs.sources import QUERY_IMAGES, Sources, task_calibration
from flows.jobs.training_device import on_device, training_place
from model_zoo.guard import BANK
from model_zoo.heads import LearnedHead, MemoryBankHead
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.task_learner import TaskLearner
from model_zoo.validation import validation_loss
from pipeline.calibration import PooledCalibration, SourceScores, pool
from pipeline.distributed import rank
from pipeline.early_stopping import VALIDATION_LOSS, EarlyStopping
from pipeline.errors import ConfigError, LineError, StorageError
from pipeline.evaluation import score_levels
from pipeline.features import BackboneSpec
from pipeline.learner import Learner, OuterStepReport
from pipeline.meta_model import MetaModel, content_identifier, save_meta_model
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class MetaTrainResult:
    """A finished meta-training run: the meta-model, its folder, the losses, the held-out lines' image AUROC."""

    model: MetaModel
    folder: Path
    run: Path
    losses: tuple[float, ...]
    held_out: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Training:
    """What every training process sets up alike."""

    request: MetaTrainRequest
    learner: Learner
    sources: Sources
    spec: BackboneSpec
    train: tuple[ProductLine, ...]
    held_out: tuple[ProductLine, ...]


def run(request: MetaTrainRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> MetaTrainResult:
    """Meta-train the requested learner.

    Raises:
        LineError: no usable line.
        DeviceError: the device is not there.
        ConfigError, StorageError: as the sentence says.
    """
    start = time.perf_counter()
    place = training_place(request.device, request.processes)
    folder = (request.output or settings.runs / f"{request.learner.value}-seed{request.seed}").expanduser().absolute()
    _note_request(folder, request)
    training = set_up(request, settings)
    if request.processes > len(training.train):
        got = f"{request.processes} processes for {len(training.train)}"
        raise ConfigError("at least one training line for each process", got, "ask for fewer processes")
    if request.patience and not (training.held_out and learner_entry(request.learner.value).is_meta):
        raise ConfigError(
            "a meta-learner and lines to validate on for early stopping",
            f"{request.learner.value} and {len(training.held_out)} lines",
            "name some with --validation-lines, train on four lines or more, or leave --patience out",
        )
    learner, name = training.learner, request.learner.value
    reports: list[OuterStepReport] = []
    trained_on = MetaModel.trained_on
    calibration: PooledCalibration | None = None
    if isinstance(learner, TaskLearner) and learner_entry(name).is_meta:
        trained_on = place.note
        if request.processes > 1:
            reports = in_processes(train_share, request, settings, folder, learner, place)
        else:
            tasks = prepare_tasks(training, on_progress)
            reports = outer_loop(training, tasks, folder, place.device(), on_progress)
            calibration = task_calibration(learner, tasks)
    calibration = calibration or line_calibration(training, on_progress)
    on_progress(Progress(stage="prepare export", done=0, total=1))
    prepare_export(training, settings)
    on_progress(Progress(stage="prepare export", done=1, total=1))
    weights = learner.state_dict() if isinstance(learner, TaskLearner) else {}
    model = MetaModel(
        identifier=content_identifier(name, weights, calibration),
        learner=name,
        seed=request.seed,
        good=request.good,
        outer_steps=request.iterations,
        pooled_steps=pooled_steps(request.iterations),
        spec=training.spec,
        lines=tuple(line.name for line in training.train),
        calibration=calibration,
        final_loss=float(np.mean([report.loss for report in reports[-50:]])) if reports else None,
        weights=weights,
        trained_on=trained_on,
        early_stopping=stopping_note(reports, request.iterations, training.held_out),
    )
    save_meta_model(model, folder / "meta_model")
    return MetaTrainResult(
        model=model,
        folder=folder / "meta_model",
        run=folder,
        losses=tuple(report.loss for report in reports),
        held_out=held_out_aurocs(training),
        seconds=time.perf_counter() - start,
    )


def line_calibration(training: Training, on_progress: OnProgress) -> PooledCalibration:
    """What the training lines say about thresholds where their episodes are not at hand prepared."""
    learner, scores, of_bank = training.learner, list[SourceScores](), list[SourceScores]()
    for done, line in enumerate(training.train):
        on_progress(Progress(stage="calibrate", done=done, total=len(training.train)))
        scores += training.sources.scores(learner, line)
        if isinstance(learner, TaskLearner):
            of_bank += training.sources.scores(make_learner(BANK, training.spec), line)
    return replace(pool(scores), fallback=pool(of_bank) if of_bank else None)


def pooled_steps(iterations: int) -> int:
    """How many of the outer steps train trunk and theta0 on all lines together, before the learner's own."""
    return round(0.75 * iterations)


def set_up(request: MetaTrainRequest, settings: Settings) -> Training:
    """Lines, backbone, features and a fresh learner."""
    train, held_out = _split(request)
    backbone = open_backbone(request.backbone, request.size, settings)
    sources = Sources(backbone.cached(settings), backbone.preprocess(), (request.good,), request.defects, request.seed)
    learner = make_learner(
        request.learner.value,
        backbone.spec,
        outer_steps=request.iterations,
        pooled_steps=pooled_steps(request.iterations),
        seed=request.seed,
    )
    return Training(request, learner, sources, backbone.spec, tuple(train), tuple(held_out))


def train_share(request: MetaTrainRequest, settings: Settings, folder: Path, device: torch.device) -> None:
    """One process's part of a distributed run; the first leaves its checkpoint in the run folder."""
    training = set_up(request, settings)
    outer_loop(training, prepare_tasks(training, ignore_progress), folder, device, ignore_progress)


def prepare_tasks(training: Training, on_progress: OnProgress) -> list[SourceTask]:
    """The training lines' episodes; in several processes those of this process's share of the lines."""
    assert isinstance(training.learner, TaskLearner)
    lines = training.train[rank() :: training.request.processes]
    tasks: list[SourceTask] = []
    for done, line in enumerate(lines):
        on_progress(Progress(stage="episodes", done=done, total=len(lines)))
        tasks += training.sources.tasks(training.learner, line)
    on_progress(Progress(stage="episodes", done=len(lines), total=len(lines)))
    return tasks


def outer_loop(
    training: Training, tasks: list[SourceTask], folder: Path, device: torch.device, on_progress: OnProgress
) -> list[OuterStepReport]:
    """The outer loop with the request's settings on a device, resumed where asked."""
    request, learner = training.request, training.learner
    assert isinstance(learner, TaskLearner)

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
            stopping=early_stopping(training),
        )


def early_stopping(training: Training) -> EarlyStopping | None:
    """By the held-out lines' episodes, where the request has patience. A learner with outer steps of its own is first
    checked in those: what it adds does not learn before.
    """
    request, learner = training.request, training.learner
    if not request.patience:
        return None
    assert isinstance(learner, TaskLearner)
    tasks = [task.prepared for line in training.held_out for task in training.sources.tasks(learner, line)]
    pooled = learner.config.pooled_steps
    return EarlyStopping(
        lambda: validation_loss(learner, tasks),
        patience=request.patience,
        every=max(1, request.iterations // 20),
        after=pooled if pooled < learner.config.outer_steps else 0,
    )


def stopping_note(reports: Sequence[OuterStepReport], iterations: int, held_out: Sequence[ProductLine]) -> str | None:
    """What the card says about early stopping; None where nothing was checked."""
    checks = {step: report.figures.get(VALIDATION_LOSS) for step, report in enumerate(reports, 1)}
    losses = {step: loss for step, loss in checks.items() if loss is not None}
    if not losses:
        return None
    best = min(losses, key=losses.__getitem__)
    return (
        f"kept step {best}, validation loss {losses[best]:.4f}, of {len(reports)} taken (at most {iterations}); "
        f"validated on {', '.join(line.name for line in held_out)}"
    )


def prepare_export(training: Training, settings: Settings) -> None:
    """Export a head of the first training line once, and the bank's it may fall back to, so that the graphs' structure
    is there when a line is adapted.

    Tracing a head takes many seconds; filling a structure that is there takes a fraction of one.
    """
    line, request = training.train[0], training.request
    defects = min(request.defects, len(line.defects))
    episode = training.sources.episode(line, request.good, defects, QUERY_IMAGES, request.seed)
    head = _unguarded(training.learner).adapt(episode.support, seed=0)
    heads = [head, MemoryBankHead.of_inputs(head.inputs)] if isinstance(head, LearnedHead) else [head]
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        levels = [level[:2] for level in episode.query.levels]
        for head in heads:
            export_head(head, levels, Path(scratch) / "head.onnx", template_folder=settings.templates)


def held_out_aurocs(training: Training) -> dict[str, float]:
    """Image AUROC of one episode of each held-out line, by "image_auroc <line>"."""
    figures = {}
    for line in training.held_out:
        episode = training.sources.episodes(line, 1)[0]
        head = _unguarded(training.learner).adapt(episode.support, seed=0)
        scores = score_levels(head, episode.query.levels).image_score.numpy()
        figures[f"image_auroc {line.name}"] = image_auroc(scores, episode.query.labels.numpy())
    return figures


def _unguarded(learner: Learner) -> Learner:
    return learner.unguarded() if isinstance(learner, TaskLearner) else learner


def _split(request: MetaTrainRequest) -> tuple[list[ProductLine], list[ProductLine]]:
    """Lines to train on and lines to report metrics on: named ones, or one of at least four training lines."""
    lines = [line for line in find_lines(request.lines) if line.defects or request.learner in UNTRAINED]
    if not lines:
        raise LineError(
            f"product lines with defective images in {request.lines}",
            "none",
            "name a folder of lines (MVTec AD layout), or make some with `linewise synthetic`",
        )
    if request.validation_lines is not None:
        return lines, [line for line in find_lines(request.validation_lines) if line.defects]
    enough = len(lines) >= 4 and len(lines[-1].defects) > QUERY_IMAGES // 4
    return (lines[:-1], lines[-1:]) if enough else (lines, [])


def _note_request(folder: Path, request: MetaTrainRequest) -> None:
    path = folder / "request.json"
    content = request.model_dump(mode="json", exclude={"resume"})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(path.read_text()) if request.resume and path.exists() else content
        # a run may go on elsewhere, and one from before a setting existed has its default
        defaults = {"patience": 0}
        if defaults | before | {"device": content["device"]} != content:
            raise ConfigError(
                f"the request that {folder} was started with", "another", "repeat its settings, or name another folder"
            )
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"a writable run folder {folder}", error.strerror or str(error), "name another") from error
