"""What every scenario measures with: images drawn, supports and queries opened, heads adapted, one table row made."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from deploy.engine.devices import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.export import export_head
from flows.jobs.backbones import OpenBackbone, open_backbone
from flows.jobs.fold_training import POOLED, FoldTrainer, Trained
from flows.jobs.names import UNTRAINED
from flows.jobs.progress import OnProgress
from flows.jobs.requests import EvaluateRequest
from flows.jobs.sources import Sources
from model_zoo.heads import LearnedHead
from model_zoo.invariant_inputs import HeadInputs
from model_zoo.learner_table import make_learner
from model_zoo.task_learner import TaskLearner
from model_zoo.tasks import prepare_support
from pipeline.calibration import PooledCalibration
from pipeline.episodes import QuerySet, SupportSet
from pipeline.evaluation import Fold, Row, Truth, evaluate_outputs, read_truth, score_levels, seen_and_unseen
from pipeline.imaging.images import require_image
from pipeline.learner import AnomalyHead, AnomalyOutput, Learner
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings
from pipeline.support import EpisodeImages, build_query, build_support, sample_images

_TIMED_IMAGES = 8


@dataclass(frozen=True, eq=False)
class Query:
    """A line's query images, their features and what is known of them."""

    records: tuple[ImageRecord, ...]
    features: QuerySet
    truth: Truth


class Support:
    """A support set, opened once for all learners: its features, and what the learned heads make of them.

    Attributes:
        images: the records; those of its query beside them.
        good, defects: how many were asked for.
        seed: of the draw and of the adaptations.
        seconds: what all adaptations to it share, from cached features on.
    """

    def __init__(self, bench: Bench, images: EpisodeImages, *, good: int, defects: int, seed: int) -> None:
        start = time.perf_counter()
        sources = bench.sources
        self.images, self.good, self.defects, self.seed = images, good, defects, seed
        self.features: SupportSet = build_support(
            images.good, images.defects, bench.features, sources.preprocess, sources.support, seed=seed
        )
        self.loading = time.perf_counter() - start
        inputs = bench.inputs
        self.prepared = None if inputs is None else prepare_support(self.features, *inputs, seed=seed)
        self.seconds = time.perf_counter() - start
        self._last: tuple[Query, HeadInputs] | None = None

    def inputs_of(self, query: Query) -> HeadInputs:
        """What learned heads see of a query, computed once for all of them."""
        assert self.prepared is not None
        if self._last is None or self._last[0] is not query:
            self._last = None  # one query's inputs at a time: they are large
            self._last = query, self.prepared.inputs.of_query(query.features.levels)
        return self._last[1]


class Adapted:
    """A head and the support it came from; `seconds` from cached features to the head, what is shared included."""

    def __init__(self, head: AnomalyHead, support: Support, seconds: float) -> None:
        self.head, self.seconds = head, seconds
        self._support = support
        self._last: tuple[Query, AnomalyOutput] | None = None

    def output(self, query: Query) -> AnomalyOutput:
        """Its scores of a query."""
        if self._last is None or self._last[0] is not query:
            if isinstance(self.head, LearnedHead):
                with torch.no_grad():
                    output = self.head.output_of(self._support.inputs_of(query))
            else:
                output = score_levels(self.head, query.features.levels)
            self._last = query, output
        return self._last[1]


class Bench:
    """What one process of an evaluation shares among its parts: backbone, features, source episodes, timings."""

    def __init__(self, request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> None:
        self.request = request
        self.on_progress = on_progress
        self.backbone: OpenBackbone = open_backbone(request.backbone, request.size, settings)
        self.features = self.backbone.cached(settings)
        self.sources = Sources(
            self.features, self.backbone.preprocess(), request.good, max(request.defects), seed=request.seed
        )
        self.trainer = FoldTrainer(request, self.backbone.spec, self.sources, on_progress)
        self._templates = settings.templates
        self._speed: dict[tuple[str, str, int, int], float] = {}
        self._good_only: dict[str, tuple[tuple[ImageRecord, ...], int, Adapted]] = {}
        fresh = [make_learner(name, self.backbone.spec) for name in request.learners]
        tasks = [learner for learner in fresh if isinstance(learner, TaskLearner)]
        assert all(task.config.inputs == tasks[0].config.inputs for task in tasks), "learners share inputs' settings"
        self.inputs = (tasks[0].groups, tasks[0].config.inputs) if tasks else None
        """The learned heads' groups and settings of inputs; None where every learner is without a learned head."""

    def train(self, fold: Fold, *, pooled: bool = False) -> dict[str, Trained]:
        """The requested learners, trained on the fold; with `pooled` also the pooled head the meta-learners begin with,
        where there is a meta-learner.
        """
        names = [name.value for name in self.request.learners]
        if pooled and POOLED not in names and not UNTRAINED.issuperset(self.request.learners):
            names.append(POOLED)
        return self.trainer.train(fold, names)

    # --- images -----------------------------------------------------------------------------------------------------

    def draw(self, line: ProductLine, seed: int) -> EpisodeImages:
        """The largest support asked for, and the query that is the same for all smaller ones."""
        limit = self.request.max_test_images or 2 * (len(line.test_good) + len(line.train_good) + len(line.defects))
        good, defects = max(self.request.good), max(self.request.defects)
        return sample_images(line, good=good, defects=defects, query=limit, seed=seed, spare_good=False)

    def numbers(self) -> list[tuple[int, int]]:
        """The numbers of good and defective support images asked for, ascending."""
        return list(itertools.product(sorted(set(self.request.good)), sorted(set(self.request.defects))))

    def query(self, records: Sequence[ImageRecord]) -> Query:
        """Open a query."""
        size = (self.backbone.spec.height, self.backbone.spec.width)
        features = build_query(records, self.features, self.sources.preprocess)
        return Query(tuple(records), features, read_truth(records, size))

    def support(self, drawn: EpisodeImages, good: int, defects: int, seed: int) -> Support:
        """Open a support: the first so many images of a draw."""
        images = replace(drawn, good=drawn.good[:good], defects=drawn.defects[:defects])
        return Support(self, images, good=good, defects=defects, seed=seed)

    # --- heads ------------------------------------------------------------------------------------------------------

    def adapt(self, name: str, learner: Learner, support: Support) -> Adapted:
        """Adapt to a support. A learner that looks at good images only serves the next number of defects as well."""
        start = time.perf_counter()
        if isinstance(learner, TaskLearner):
            assert support.prepared is not None
            head: AnomalyHead = learner.adapt_prepared(support.prepared, seed=support.seed)
            return Adapted(head, support, support.seconds + time.perf_counter() - start)
        last = self._good_only.get(name)
        if last is None or last[:2] != (support.images.good, support.seed):
            head = learner.adapt(support.features, seed=support.seed)
            adapted = Adapted(head, support, support.loading + time.perf_counter() - start)
            last = self._good_only[name] = (support.images.good, support.seed, adapted)
        return last[2]

    def row(
        self,
        line: ProductLine,
        name: str,
        support: Support,
        adapted: Adapted,
        query: Query,
        *,
        calibration: PooledCalibration | None,
        **keys: str | float,
    ) -> Row:
        """One row of the table.

        Args:
            line: tested.
            name: of the learner.
            support: adapted to.
            adapted: the head.
            query: to judge by.
            calibration: of the source lines.
            keys: further keys of the scenario.

        Returns:
            line, data_set, learner, good, defects (as asked for), seed, scenario, the scenario's keys, the figures of
            `evaluate_outputs` and `seen_and_unseen`, adapt_seconds, score_ms (once for a line, learner and numbers of
            images), note.
        """
        output = adapted.output(query)
        figures = evaluate_outputs(
            output,
            adapted.head.leave_one_out(support.features),
            query.truth,
            target_false_reject_rate=self.request.target_false_reject_rate,
            pooled=calibration,
        )
        seen = {record.kind for record in support.images.defects}
        cell = (line.name, name, support.good, support.defects)
        if cell not in self._speed:
            self._speed[cell] = self._score_ms(adapted.head, query)
        return {
            "line": line.name,
            "data_set": line.data_set,
            "learner": name,
            "good": support.good,
            "defects": support.defects,
            "seed": support.seed,
            "scenario": self.request.scenario.value,
            **keys,
            **figures,
            **seen_and_unseen(output.image_score.double().numpy(), [record.kind for record in query.records], seen),
            "adapt_seconds": adapted.seconds,
            "score_ms": self._speed[cell],
            "note": _note(line, support),
        }

    def _score_ms(self, head: AnomalyHead, query: Query) -> float:
        """Median milliseconds from a file to its score, decode included, with the exported head on this CPU."""
        with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
            path = Path(scratch) / "head.onnx"
            levels = [level[: min(4, max(2, len(level)))] for level in query.features.levels]
            exported = export_head(head, levels, path, template_folder=self._templates)
            engine = ScoringEngine(self.backbone.artefact, "cpu", threads=available_cpus())
            engine.add_head("line", path, exported.sha256)
            times = []
            for record in itertools.islice(itertools.cycle(query.records), _TIMED_IMAGES + 1):
                start = time.perf_counter()
                engine.score("line", require_image(record.path, self.sources.preprocess).pixels[None])
                times.append(time.perf_counter() - start)
        return 1e3 * float(np.median(times[1:]))


def _note(line: ProductLine, support: Support) -> str:
    notes = []
    if len(support.images.good) < support.good:
        notes.append(f"{len(support.images.good)} of {support.good} good images")
    if len(support.images.defects) < support.defects:
        notes.append(f"{len(support.images.defects)} of {support.defects} defective images")
    if not line.has_masks:
        notes.append("no masks")
    return ", ".join(notes)
