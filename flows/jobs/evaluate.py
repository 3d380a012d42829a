"""Evaluation as a job: meta-train on some lines, adapt to others, and measure what neither step has seen."""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from deploy.engine.devices import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.export import export_head
from flows.jobs.backbones import OpenBackbone, open_backbone
from flows.jobs.fold_rows import FoldRows
from flows.jobs.fold_training import GENERATED, FoldTrainer, Trained
from flows.jobs.progress import OnProgress, Progress, ignore_progress
from flows.jobs.requests import EvaluateRequest, Protocol
from flows.jobs.sources import Sources
from model_zoo.heads import LearnedHead
from model_zoo.task_learner import TaskLearner
from model_zoo.tasks import prepare_support
from pipeline.episodes import QuerySet, SupportSet
from pipeline.errors import LineError
from pipeline.evaluation import (
    Fold,
    Row,
    evaluate_outputs,
    leave_one_data_set_out,
    leave_one_line_out,
    read_truth,
    score_levels,
)
from pipeline.imaging.images import require_image
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines
from pipeline.settings import Settings
from pipeline.support import EpisodeImages, build_query, build_support, sample_images
from pipeline.synthetic.lines import write_lines

_TIMED_IMAGES = 8
_Outputs = dict[str, tuple[AnomalyHead, AnomalyOutput, float]]


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """The table's rows, and what the run cost: wall-clock seconds and this process's peak memory."""

    rows: list[Row]
    seconds: float
    peak_mib: float


def run(request: EvaluateRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> EvaluateResult:
    """Evaluate the requested learners. Asked again after an interruption, it goes on with the folds that are missing.

    Raises:
        LineError: no usable line to train on or to test on.
        ConfigError, StorageError: as the sentence says.
    """
    start = time.perf_counter()
    folds = make_folds(request, settings, on_progress)
    kept = FoldRows(settings.runs, request)
    todo = [fold for fold in folds if not kept.has(fold.name)]
    processes = min(request.processes, len(todo))
    on_progress(Progress(stage="folds", done=len(folds) - len(todo), total=len(folds)))
    with ExitStack() as stack:
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(processes, context, _start_process, (request, settings)))
            done_folds = (future.result() for future in as_completed([pool.submit(_in_process, f) for f in todo]))
        else:
            evaluation = _Evaluation(request, settings, on_progress) if todo else None
            done_folds = ((fold.name, evaluation.fold_rows(fold)) for fold in todo if evaluation is not None)
        for done, (name, of_fold) in enumerate(done_folds, len(folds) - len(todo) + 1):
            kept.keep(name, of_fold)
            on_progress(Progress(stage="folds", done=done, total=len(folds)))
    rows = kept.finish([fold.name for fold in folds])
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return EvaluateResult(rows=rows, seconds=time.perf_counter() - start, peak_mib=peak)


def make_folds(request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> list[Fold]:
    """The request's folds, generated lines joined to every one's training lines."""
    generated = _generated_lines(request, settings, on_progress)
    if request.protocol is Protocol.TRAIN_TEST:
        assert request.train_lines is not None
        assert request.test_lines is not None
        folds = [Fold("test", tuple(_lines(request.train_lines)), tuple(_lines(request.test_lines)))]
    else:
        assert request.lines is not None
        lines = _lines(request.lines)
        by_data_set = request.protocol is Protocol.LEAVE_ONE_DATA_SET_OUT
        folds = leave_one_data_set_out(lines) if by_data_set else leave_one_line_out(lines)
    return [Fold(fold.name, (*fold.train, *generated), fold.test) for fold in folds]


def _lines(folder: Path) -> list[ProductLine]:
    if not (lines := find_lines(folder)):
        raise LineError(f"product lines in {folder}", "none", "name a folder of lines (MVTec AD layout)")
    return lines


def _start_process(request: EvaluateRequest, settings: Settings) -> None:
    """Open what every fold of this process shares; one thread each, so that processes do not fight for cores."""
    global _evaluation  # noqa: PLW0603 (a process pool's workers have no other place)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _evaluation = _Evaluation(request, settings, ignore_progress)


def _in_process(fold: Fold) -> tuple[str, list[Row]]:
    assert _evaluation is not None
    return fold.name, _evaluation.fold_rows(fold)


class _Evaluation:
    """What one process needs: backbone, features, source episodes."""

    def __init__(self, request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> None:
        self.request = request
        self.on_progress = on_progress
        self.backbone: OpenBackbone = open_backbone(request.backbone, request.size, settings)
        self.features = self.backbone.cached(settings)
        self.templates = settings.templates
        self.sources = Sources(
            self.features, self.backbone.preprocess(), request.good, max(request.defects), seed=request.seed
        )
        self.trainer = FoldTrainer(request, self.backbone.spec, self.sources, on_progress)

    def fold_rows(self, fold: Fold) -> list[Row]:
        """Train the fold's learners and test them on its lines."""
        trained = self.trainer.train(fold)
        return [row for line in fold.test for row in self._line_rows(line, trained)]

    def _line_rows(self, line: ProductLine, trained: dict[str, Trained]) -> Iterator[Row]:
        speed: dict[tuple[str, int], float] = {}
        preprocess, size = self.backbone.preprocess(), (self.backbone.spec.height, self.backbone.spec.width)
        for seed in range(self.request.seeds):
            self.on_progress(Progress(stage=f"test {line.name}", done=seed, total=self.request.seeds))
            records = self._images(line, max(self.request.defects), seed).query
            query, truth = build_query(records, self.features, preprocess), read_truth(records, size)
            of_good: _Outputs = {}
            for defects in sorted(set(self.request.defects)):
                images = self._images(line, defects, seed)
                assert images.query == records, "one query for all numbers of support defects"
                start = time.perf_counter()
                support = self._support(images, seed)
                loading = time.perf_counter() - start
                for name, head, output, seconds in self._adapted(trained, support, query, seed, of_good):
                    if (name, defects) not in speed:
                        speed[name, defects] = self._score_ms(head, records, query)
                    figures = evaluate_outputs(
                        output,
                        head.leave_one_out(support),
                        truth,
                        target_false_reject_rate=self.request.target_false_reject_rate,
                        pooled=trained[name].calibration,
                    )
                    yield {
                        "line": line.name,
                        "data_set": line.data_set,
                        "learner": name,
                        "good": self.request.good,
                        "defects": defects,
                        "seed": seed,
                        **figures,
                        "adapt_seconds": loading + seconds,
                        "score_ms": speed[name, defects],
                        "note": self._note(line, images, defects),
                    }

    def _images(self, line: ProductLine, defects: int, seed: int) -> EpisodeImages:
        """An episode's images: the query is the same for all numbers of support defects of a seed."""
        limit = self.request.max_test_images or 2 * (len(line.test_good) + len(line.train_good) + len(line.defects))
        return sample_images(
            line,
            good=self.request.good,
            defects=defects,
            query=limit,
            seed=seed,
            reserve=max(self.request.defects),
            spare_good=False,
        )

    def _support(self, images: EpisodeImages, seed: int) -> SupportSet:
        sources = self.sources
        return build_support(images.good, images.defects, self.features, sources.preprocess, sources.support, seed=seed)

    def _adapted(
        self, trained: dict[str, Trained], support: SupportSet, query: QuerySet, seed: int, of_good: _Outputs
    ) -> Iterator[tuple[str, AnomalyHead, AnomalyOutput, float]]:
        """Each learner's head, its output on the query and its seconds.

        What the learned heads' inputs cost is computed once and counted for each. A learner that looks at good images
        only is kept in `of_good`, for all numbers of defects.
        """
        start = time.perf_counter()
        tasks = [entry.learner for entry in trained.values() if isinstance(entry.learner, TaskLearner)]
        prepared = inputs = None
        shared = 0.0
        if tasks:
            assert len({task.config.inputs for task in tasks}) == 1, "learners share their inputs' settings"
            prepared = prepare_support(support, tasks[0].groups, tasks[0].config.inputs, seed=seed)
            shared = time.perf_counter() - start
            inputs = prepared.inputs.of_query(query.levels)
        for name, entry in trained.items():
            start = time.perf_counter()
            if isinstance(entry.learner, TaskLearner):
                assert prepared is not None
                assert inputs is not None
                head: AnomalyHead = entry.learner.adapt_prepared(prepared, seed=seed)
                seconds = shared + time.perf_counter() - start
                assert isinstance(head, LearnedHead)
                with torch.no_grad():
                    yield name, head, head.output_of(inputs), seconds
            else:
                if name not in of_good:
                    head = entry.learner.adapt(support, seed=seed)
                    seconds = time.perf_counter() - start
                    of_good[name] = (head, score_levels(head, query.levels), seconds)
                yield name, *of_good[name]

    def _score_ms(self, head: AnomalyHead, records: Sequence[ImageRecord], query: QuerySet) -> float:
        """Median milliseconds from a file to its score, decode included, with the exported head on this CPU."""
        with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
            path = Path(scratch) / "head.onnx"
            levels = [level[: min(4, max(2, len(level)))] for level in query.levels]
            exported = export_head(head, levels, path, template_folder=self.templates)
            engine = ScoringEngine(self.backbone.artefact, "cpu", threads=available_cpus())
            engine.add_head("line", path, exported.sha256)
            times = []
            for record in itertools.islice(itertools.cycle(records), _TIMED_IMAGES + 1):
                start = time.perf_counter()
                engine.score("line", require_image(record.path, self.backbone.preprocess()).pixels[None])
                times.append(time.perf_counter() - start)
        return 1e3 * float(np.median(times[1:]))

    def _note(self, line: ProductLine, images: EpisodeImages, defects: int) -> str:
        notes = []
        if len(images.good) < self.request.good:
            notes.append(f"{len(images.good)} of {self.request.good} good images")
        if len(images.defects) < defects:
            notes.append(f"{len(images.defects)} of {defects} defective images")
        if not line.has_masks:
            notes.append("no masks")
        return ", ".join(notes)


def _generated_lines(request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> tuple[ProductLine, ...]:
    """The generated lines that join every fold's source lines; written once."""
    if request.synthetic_lines == 0:
        return ()
    folder = settings.ensure_home() / "synthetic"
    on_progress(Progress(stage="generate lines", done=0, total=request.synthetic_lines))
    paths = write_lines(folder, range(request.synthetic_lines))
    on_progress(Progress(stage="generate lines", done=request.synthetic_lines, total=request.synthetic_lines))
    names = {path.name for path in paths}
    found = [line for line in find_lines(folder) if line.root.name in names]
    return tuple(
        ProductLine(f"{GENERATED}/{line.name}", GENERATED, line.root, line.train_good, line.test_good, line.defects)
        for line in found
    )


_evaluation: _Evaluation | None = None
"""This worker process's, where folds are shared among processes."""
