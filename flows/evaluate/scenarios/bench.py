"""What every scenario measures with: images drawn, supports and queries opened, heads adapted, one table row made."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import export_head
from flows.evaluate.request import EvaluateRequest
from flows.evaluate.scenarios.fold_training import FoldTrainer, Trained
from flows.evaluate.scenarios.support_and_query import AdaptedHead, CachedBackbone, Query, Support
from flows.line_threshold import line_threshold
from flows.progress import OnProgress
from flows.source_lines import Sources
from flows.taken_up import take_up_into
from flows.views import DEFAULT_SIZE, AdaptedLine, adapt_to_best, candidate_backbones, candidate_sizes
from pipeline.calibration import PooledCalibration
from pipeline.episode_draws import EpisodeImages, sample_images
from pipeline.evaluation import Fold, Row, evaluate_outputs, read_truth, seen_and_unseen
from pipeline.imaging.images import require_image
from pipeline.input_size import InputSize
from pipeline.learner import Learner
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings

_TIMED_IMAGES = 8


class Bench:
    """What one process of an evaluation shares among its parts: backbone, features, source episodes, timings.

    Where no input size was asked for, learners that choose a line's do so from the support; all others, meta-training
    and the pooled thresholds see the default.
    """

    def __init__(self, request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> None:
        self.request = request
        self.on_progress = on_progress
        self._settings = settings
        self._backbones: dict[tuple[str, InputSize], CachedBackbone] = {}
        backbone = self.backbone()
        self.sources = Sources(
            backbone.features, backbone.preprocess, request.good, max(request.defects), seed=request.seed
        )
        self.trainer = FoldTrainer(request, backbone.opened.spec, self.sources, on_progress)
        self._speed: dict[tuple[str, str, int, int], float] = {}
        self._good_only: dict[str, tuple[tuple[ImageRecord, ...], int, AdaptedHead]] = {}

    def backbone(self, size: InputSize | None = None, name: str | None = None) -> CachedBackbone:
        """A backbone at an input size (default: those asked for, else the default size), opened once."""
        key = name or self.request.backbone, size or InputSize.of(self.request.size or DEFAULT_SIZE)
        if key not in self._backbones:
            self._backbones[key] = CachedBackbone(*key, self._settings)
        return self._backbones[key]

    def train(self, fold: Fold, *, calibrate_starts: bool = False) -> dict[str, Trained]:
        """The requested learners by name, trained on the fold; see `FoldTrainer.train`."""
        return self.trainer.train(
            fold, [name.value for name in self.request.learners], calibrate_starts=calibrate_starts
        )

    # --- images -----------------------------------------------------------------------------------------------------

    def draw(self, line: ProductLine, seed: int) -> EpisodeImages:
        """The largest support asked for, and the query that is the same for all smaller ones."""
        limit = self.request.max_test_images or 2 * (len(line.test_good) + len(line.train_good) + len(line.defects))
        good, defects = max(self.request.good), max(self.request.defects)
        return sample_images(
            line,
            good=good,
            defects=defects,
            query=limit,
            seed=seed,
            spare_good=False,
            unlabelled=max(self.request.unlabelled),
            contamination=self.request.contamination,
            of_production=self.request.of_production,
            one_kind=self.request.one_kind,
        )

    def numbers(self) -> list[tuple[int, int]]:
        """The numbers of good and defective support images asked for, ascending."""
        return list(itertools.product(sorted(set(self.request.good)), sorted(set(self.request.defects))))

    def unlabelled(self) -> list[int]:
        """The numbers of unlabelled images asked for, ascending."""
        return sorted(set(self.request.unlabelled))

    def query(self, records: Sequence[ImageRecord]) -> Query:
        """Open a query."""
        preprocess = self.backbone().preprocess
        return Query(records, read_truth(records, (preprocess.height, preprocess.width)))

    def support(self, drawn: EpisodeImages, good: int, defects: int, seed: int, unlabelled: int = 0) -> Support:
        """Open a support: the first so many images of a draw."""
        images = replace(drawn, good=drawn.good[:good], defects=drawn.defects[:defects])
        images = images.first_unlabelled(unlabelled, self.request.contamination)
        return Support(self.backbone(), images, good=good, defects=defects, unlabelled=unlabelled, seed=seed)

    # --- heads ------------------------------------------------------------------------------------------------------

    def adapt(self, name: str, learner: Learner, support: Support) -> AdaptedHead:
        """Adapt to a support, and to its unlabelled images where it has some.

        A learner that looks at good images only serves the next number of defects as well, but for take-up, which known
        defects guard.
        """
        if support.images.unlabelled:
            return self._with_unlabelled(learner, support)
        if learner.uses_defects:
            return self._adapt(learner, support)
        last = self._good_only.get(name)
        if last is None or last[:2] != (support.images.good, support.seed):
            last = self._good_only[name] = support.images.good, support.seed, self._adapt(learner, support)
        return last[2]

    def _with_unlabelled(self, learner: Learner, support: Support) -> AdaptedHead:
        labelled = self._adapt(learner, support)
        start = time.perf_counter()
        line = AdaptedLine(labelled.view, learner, labelled.head, ())
        features = labelled.backbone.features
        found, report = take_up_into(line, support.images.unlabelled, features=features, seed=support.seed)
        seconds = labelled.seconds + time.perf_counter() - start
        took_up = bool(report.taken)
        return AdaptedHead(found.head, support, found.view, labelled.backbone, seconds, found.alone, took_up)

    def _adapt(self, learner: Learner, support: Support) -> AdaptedHead:
        if learner.chooses_size:
            return self._adapt_at_best_size(learner, support)
        prepared, shared = support.prepared_for(learner)
        start = time.perf_counter()
        head = learner.choose(support.view.support, seed=support.seed, prepared=prepared).head
        seconds = support.seconds + shared + time.perf_counter() - start
        return AdaptedHead(head, support, support.view, self.backbone(), seconds)

    def _adapt_at_best_size(self, learner: Learner, support: Support) -> AdaptedHead:
        """Adapt at every input size that may be chosen, and keep the best."""
        start, images = time.perf_counter(), support.images
        sizes = (
            (InputSize.of(self.request.size),)
            if self.request.size
            else candidate_sizes((*images.good, *images.defects))
        )
        names = candidate_backbones(self.request.backbone, learner, self.backbone().opened.spec)
        backbones = [self.backbone(size, name) for name in names for size in sizes]
        views = [support.view if one is self.backbone() else support.through(one) for one in backbones]
        found = adapt_to_best(learner, views, seed=support.seed)
        seconds = support.seconds + time.perf_counter() - start
        backbone = next(one for one, view in zip(backbones, views, strict=True) if view is found.view)
        return AdaptedHead(found.head, support, found.view, backbone, seconds)

    def row(
        self,
        line: ProductLine,
        name: str,
        support: Support,
        adapted: AdaptedHead,
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
            line, data_set, learner, good, defects, unlabelled, contamination (as asked for), seed, scenario, the
            scenario's keys, the figures of `evaluate_outputs` and `seen_and_unseen`, known_defects_passed (a share),
            lowest_rate and highest_rate (the promise's), adapt_seconds, score_ms (once for a line, learner and numbers
            of images), note.
        """
        output = adapted.output(query)
        threshold, promise = line_threshold(self.request, adapted.head, adapted.view, calibration, adapted.alone)
        figures = evaluate_outputs(output, query.truth, threshold)
        seen = {record.kind for record in support.images.defects}
        cell = (line.name, name, support.good, support.defects)  # what is taken up leaves the bank as large
        if cell not in self._speed:
            self._speed[cell] = self._score_ms(adapted, query)
        return {
            "line": line.name,
            "data_set": line.data_set,
            "learner": name,
            "good": support.good,
            "defects": support.defects,
            "unlabelled": support.unlabelled,
            "contamination": self.request.contamination if support.unlabelled else 0.0,
            "seed": support.seed,
            "scenario": self.request.scenario.value,
            **keys,
            **figures,
            "known_defects_passed": promise.share_passed,
            "lowest_rate": promise.lowest_rate,
            "highest_rate": promise.highest_rate,
            **seen_and_unseen(output.image_score.double().numpy(), [record.kind for record in query.records], seen),
            "adapt_seconds": adapted.seconds,
            "score_ms": self._speed[cell],
            "note": _note(line, support),
        }

    def _score_ms(self, adapted: AdaptedHead, query: Query) -> float:
        """Median milliseconds from a file to its score, decode included, with the exported head on this CPU."""
        with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
            path = Path(scratch) / "head.onnx"
            levels = [level[: min(4, max(2, len(level)))] for level in query.levels(adapted.backbone)]
            exported = export_head(adapted.head, levels, path, template_folder=self._settings.templates)
            engine = ScoringEngine(adapted.backbone.opened.artefact, "cpu", threads=available_cpus())
            engine.add_head("line", path, exported.sha256)
            times = []
            for record in itertools.islice(itertools.cycle(query.records), _TIMED_IMAGES + 1):
                start = time.perf_counter()
                engine.score("line", require_image(record.path, adapted.backbone.preprocess).pixels[None])
                times.append(time.perf_counter() - start)
        return 1e3 * float(np.median(times[1:]))


def _note(line: ProductLine, support: Support) -> str:
    notes = []
    if len(support.images.good) < support.good:
        notes.append(f"{len(support.images.good)} of {support.good} good images")
    if len(support.images.defects) < support.defects:
        notes.append(f"{len(support.images.defects)} of {support.defects} defective images")
    if len(unlabelled := support.images.unlabelled) < support.unlabelled:
        defective = sum(record.is_defect for record in unlabelled)
        notes.append(f"{len(unlabelled)} of {support.unlabelled} unlabelled images, {defective} of them defective")
    if not line.has_masks:
        notes.append("no masks")
    return ", ".join(notes)
