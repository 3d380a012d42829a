"""Meta-training as a job: lines in, a meta-model with pooled calibration out."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy.exporting.torch_to_onnx import export_head
from flows.meta_train.outer_loop import (
    Training,
    held_out_aurocs,
    outer_loop,
    pooled_steps,
    prepare_tasks,
    set_up,
    train_share,
    unguarded,
)
from flows.meta_train.processes import in_processes
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train.training_device import training_place
from flows.progress import OnProgress, Progress, ignore_progress
from flows.source_lines import QUERY_IMAGES, task_calibration
from model_zoo.heads.learned_head import LearnedHead
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.learning.guard import BANK
from model_zoo.learning.task_learner import TaskLearner
from pipeline.calibration import PooledCalibration, SourceScores, pool
from pipeline.early_stopping import VALIDATION_LOSS
from pipeline.errors import ConfigError, StorageError
from pipeline.learner import OuterStepReport
from pipeline.meta_model import MetaModel, content_identifier, save_meta_model
from pipeline.product_lines.lines import ProductLine
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
    note_request(folder, request)
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
    head = unguarded(training.learner).adapt(episode.support, seed=0)
    heads = [head, MemoryBankHead.of_inputs(head.inputs)] if isinstance(head, LearnedHead) else [head]
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        levels = [level[:2] for level in episode.query.levels]
        for head in heads:
            export_head(head, levels, Path(scratch) / "head.onnx", template_folder=settings.templates)


def _goes_on(noted: str, request: MetaTrainRequest) -> bool:
    """Whether a request goes on with the run that was noted. It may elsewhere; a setting that the run knew nothing of
    had its default, one that is gone is another run.
    """
    try:
        before = MetaTrainRequest.model_validate_json(noted)
    except ValueError:
        return False
    return before.model_copy(update={"device": request.device, "resume": request.resume}) == request


def note_request(folder: Path, request: MetaTrainRequest) -> None:
    """Keep the request in its run folder; where it resumes, see that it is the one that the run was started with.

    Raises:
        ConfigError: it is another.
        StorageError: the folder cannot be written.
    """
    path = folder / "request.json"
    content = request.model_dump(mode="json", exclude={"resume"})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if request.resume and path.exists() and not _goes_on(path.read_text(), request):
            raise ConfigError(
                f"the request that {folder} was started with", "another", "repeat its settings, or name another folder"
            )
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"a writable run folder {folder}", error.strerror or str(error), "name another") from error
