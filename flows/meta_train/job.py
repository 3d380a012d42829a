"""Meta-training as a job: lines in, a meta-model with pooled calibration out."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from deploy.exporting.torch_to_onnx import export_head
from flows.meta_train.outer_loop import (
    Training,
    held_out_aurocs,
    outer_loop,
    prepare_tasks,
    set_up,
    split_lines,
    train_in_one_process,
)
from flows.meta_train.processes import in_processes
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train.training_device import training_place
from flows.progress import KeptRemarks, OnProgress, Progress, ignore_progress
from flows.source_lines import QUERY_IMAGES, task_calibration
from model_zoo.learner_table import make_learner
from pipeline.calibration import PooledCalibration, SourceScores, pool
from pipeline.early_stopping import VALIDATION_LOSS
from pipeline.errors import ConfigError, StorageError
from pipeline.learner import OuterStepReport
from pipeline.meta_model import MetaModel, content_identifier, save_meta_model
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import Settings
from pipeline.storage import replace_file, storage_errors


@dataclass(frozen=True, kw_only=True)
class MetaTrainResult:
    """A finished meta-training run: the meta-model, its folder, the losses, the held-out lines' image AUROC.

    `remarks` are sentences on what is left out of the lines and on what is odd, in the words of `linewise lines check`.
    """

    model: MetaModel
    folder: Path
    run: Path
    losses: tuple[float, ...]
    held_out: dict[str, float]
    remarks: tuple[str, ...]
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
    folder = (request.output or settings.runs / f"{request.learner.value}-seed{request.seed}").absolute()
    note_request(folder, request)
    kept_remarks = KeptRemarks(on_progress)
    split = split_lines(request, kept_remarks)
    training = set_up(request, settings, split)
    if request.processes > len(training.train):
        got = f"{request.processes} processes for {len(training.train)}"
        raise ConfigError("at least one training line for each process", got, "ask for fewer processes")
    learner, name = training.learner, request.learner.value
    meta = learner.as_meta()
    if request.patience and not (training.held_out and meta):
        raise ConfigError(
            "a meta-learner and lines to validate on for early stopping",
            f"{name} and {len(training.held_out)} lines",
            "name some with --validation-lines, train on four lines or more, or leave --patience out",
        )
    reports: list[OuterStepReport] = []
    trained_on = MetaModel.trained_on
    calibration: PooledCalibration | None = None
    if meta is not None:
        trained_on = place.note
        if request.processes > 1:
            one_process = partial(train_in_one_process, split)
            reports = in_processes(one_process, request, settings, folder, meta, place)
        else:
            tasks = prepare_tasks(training, meta, on_progress)
            reports = outer_loop(training, meta, tasks, folder, place.device(), on_progress)
            calibration = task_calibration(meta, tasks)
    calibration = calibration or line_calibration(training, on_progress)
    on_progress(Progress(stage="prepare export", done=0, total=1))
    prepare_export(training, settings)
    on_progress(Progress(stage="prepare export", done=1, total=1))
    note = stopping_note(reports, request.iterations, training.held_out)
    model = finished_model(training, calibration, reports, trained_on=trained_on, early_stopping=note)
    save_meta_model(model, folder / "meta_model")
    return MetaTrainResult(
        model=model,
        folder=folder / "meta_model",
        run=folder,
        losses=tuple(report.loss for report in reports),
        held_out=held_out_aurocs(training),
        remarks=kept_remarks.remarks,
        seconds=time.perf_counter() - start,
    )


def finished_model(
    training: Training,
    calibration: PooledCalibration | None,
    reports: Sequence[OuterStepReport],
    *,
    trained_on: str = MetaModel.trained_on,
    early_stopping: str | None = None,
) -> MetaModel:
    """What the training's learner has become, with all that is noted of it."""
    request, learner = training.request, training.learner
    name, meta, weights = request.learner.value, learner.as_meta(), dict(learner.state_dict())
    return MetaModel(
        identifier=content_identifier(name, weights, calibration),
        learner=name,
        seed=request.seed,
        good=request.good,
        outer_steps=meta.config.outer_steps if meta else 0,
        pooled_steps=meta.config.pooled_steps if meta else 0,
        spec=training.spec,
        lines=tuple(line.name for line in training.train),
        calibration=calibration,
        final_loss=float(np.mean([report.loss for report in reports[-50:]])) if reports else None,
        weights=weights,
        trained_on=trained_on,
        early_stopping=early_stopping,
    )


def line_calibration(training: Training, on_progress: OnProgress) -> PooledCalibration:
    """What the training lines say about thresholds where their episodes are not at hand prepared."""
    learner, scores, of_fallback = training.learner, list[SourceScores](), list[SourceScores]()
    for done, line in enumerate(training.train):
        on_progress(Progress(stage="calibrate", done=done, total=len(training.train)))
        scores += training.sources.scores(learner, line)
        if learner.fallback:
            of_fallback += training.sources.scores(make_learner(learner.fallback, training.spec), line)
    return replace(pool(scores), fallback=pool(of_fallback) if of_fallback else None)


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
    """Export heads of the first training line once, one of every structure that the learner's may have, so that it is
    there when a line is adapted.

    Tracing a head takes many seconds; filling a structure that is there takes a fraction of one.
    """
    line, request = training.train[0], training.request
    defects = min(request.defects, len(line.defects))
    episode = training.sources.episode(line, request.good, defects, QUERY_IMAGES, request.seed)
    heads = training.learner.possible_heads(episode.support, seed=0)
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        levels = [level[:2] for level in episode.query.levels]
        for head in heads:
            export_head(head, levels, Path(scratch) / "head.onnx", template_folder=settings.templates)


def _goes_on(noted: str, request: MetaTrainRequest) -> bool:
    """Whether a request goes on with the run that was noted. It may elsewhere; a setting that the run knew nothing of
    had its default, one that is gone is another run.
    """
    try:
        before = MetaTrainRequest.model_validate(json.loads(noted))  # pydantic's own reader refuses odd names' bytes
    except ValueError:
        return False
    same_place = before.model_copy(update={"device": request.device, "resume": request.resume})
    return same_place.absolute() == request.absolute()  # Prefect is given absolute paths


def note_request(folder: Path, request: MetaTrainRequest) -> None:
    """Keep the request in its run folder; where it resumes, see that it is the one that the run was started with.

    Raises:
        ConfigError: it is another.
        StorageError: the folder cannot be written.
    """
    path = folder / "request.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"a writable run folder {folder}", error.strerror or str(error), "name another") from error
    with storage_errors(path):
        if request.resume and path.exists() and not _goes_on(path.read_text(), request):
            raise ConfigError(
                f"the request that {folder} was started with", "another", "repeat its settings, or name another folder"
            )
    kept = json.dumps(request.model_dump(mode="json", exclude={"resume"}), indent=2)  # names' bytes escaped
    replace_file(path, f"{kept}\n".encode())
