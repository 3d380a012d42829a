"""Evaluation as a job: meta-train on some lines, adapt to others, and measure what neither step has seen."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass

import cv2
import torch

from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.output_files import require_writable, write_outputs
from flows.evaluate.request import EvaluateRequest, Scenario
from flows.evaluate.scenarios import domain_shift, few_shot, incremental, multi_task
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.fold_rows import FoldRows
from flows.evaluate.scenarios.folds import protocol_folds
from flows.line_threshold import least_area
from flows.progress import KeptRemarks, OnProgress, Progress, ignore_progress
from pipeline.errors import ConfigError
from pipeline.evaluation import Fold, Row
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import Settings


@dataclass(frozen=True)
class ScenarioJob:
    """A scenario: the parts of its work, and the rows of one part."""

    parts: Callable[[EvaluateRequest, Settings, OnProgress], list[Fold]]
    rows: Callable[[Bench, Fold], Iterator[Row]]


SCENARIOS = {
    Scenario.FEW_SHOT: ScenarioJob(protocol_folds, few_shot.rows),
    Scenario.DOMAIN_SHIFT: ScenarioJob(protocol_folds, domain_shift.rows),
    Scenario.INCREMENTAL: ScenarioJob(incremental.parts, incremental.rows),
    Scenario.MULTI_TASK: ScenarioJob(protocol_folds, multi_task.rows),
}


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """The table's rows, and what the run cost: wall-clock seconds and this process's peak memory.

    `remarks` are sentences on what is left out of the lines and on what is odd, in the words of `linewise lines check`.
    """

    rows: list[Row]
    remarks: tuple[str, ...]
    seconds: float
    peak_mib: float


def run(request: EvaluateRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> EvaluateResult:
    """Evaluate the requested learners. Asked again after an interruption, it goes on with the folds that are missing.

    The files that the request names are written; that they can be is seen to before.

    Raises:
        LineError: no usable line to train on or to test on.
        ConfigError, StorageError: as the sentence says.
    """
    start = time.perf_counter()
    require_writable(request)
    scenario = SCENARIOS[request.scenario]
    kept_remarks = KeptRemarks(on_progress)
    folds = scenario.parts(request, settings, kept_remarks)
    for line in {line.name: line for fold in folds for line in fold.test}.values():
        _refuse_large_least_area(request, line)
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
            bench = Bench(request, settings, on_progress) if todo else None
            done_folds = ((fold.name, list(scenario.rows(bench, fold))) for fold in todo if bench is not None)
        for done, (name, of_fold) in enumerate(done_folds, len(folds) - len(todo) + 1):
            kept.keep(name, of_fold)
            on_progress(Progress(stage="folds", done=done, total=len(folds)))
    rows = kept.finish([fold.name for fold in folds])
    write_outputs(request, Evaluation(rows), rows)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    seconds = time.perf_counter() - start
    return EvaluateResult(rows=rows, remarks=kept_remarks.remarks, seconds=seconds, peak_mib=peak)


def _refuse_large_least_area(request: EvaluateRequest, line: ProductLine) -> None:
    """See that no support that may be drawn has images as small as the least defect area.

    Raises:
        ConfigError: one may.
    """
    for record in (*line.train_good, *line.defects) if request.least_defect_area else ():
        try:
            least_area(request, [record])
        except ConfigError as error:
            raise ConfigError(error.expected, f"{error.got} in {record.path}", error.remedy) from error


def _start_process(request: EvaluateRequest, settings: Settings) -> None:
    """Open what every part of this process shares; one thread each, so that processes do not fight for cores."""
    global _bench  # noqa: PLW0603 (a process pool's workers have no other place)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _bench = Bench(request, settings, ignore_progress)


def _in_process(part: Fold) -> tuple[str, list[Row]]:
    assert _bench is not None
    return part.name, list(SCENARIOS[_bench.request.scenario].rows(_bench, part))


_bench: Bench | None = None
"""This worker process's, where parts are shared among processes."""
