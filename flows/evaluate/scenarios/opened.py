"""What a bench has open: the backbone at an input size, a query, a support, a head that was adapted to it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import View, view_of
from model_zoo.heads.invariant_inputs import HeadInputs, InvariantConfig, LevelGroups
from model_zoo.heads.learned_head import LearnedHead
from model_zoo.learning.tasks import prepare_support
from pipeline.episodes import TensorLevels
from pipeline.evaluation import Truth, score_levels
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.product_lines.lines import ImageRecord
from pipeline.settings import Settings
from pipeline.support import EpisodeImages, build_query


class Eye:
    """The backbone at one input size, and its cached features."""

    def __init__(self, name: str, size: int, settings: Settings) -> None:
        self.backbone: OpenBackbone = open_backbone(name, size, settings)
        self.features = self.backbone.cached(settings)
        self.preprocess = self.backbone.preprocess()


class Query:
    """A line's query images and what is known of them; their features through any eye."""

    def __init__(self, records: Sequence[ImageRecord], truth: Truth) -> None:
        self.records, self.truth = tuple(records), truth
        self._seen: dict[int, TensorLevels] = {}

    def levels(self, eye: Eye) -> TensorLevels:
        """Its feature levels, opened once."""
        if id(eye) not in self._seen:
            self._seen[id(eye)] = build_query(self.records, eye.features, eye.preprocess).levels
        return self._seen[id(eye)]


class Support:
    """A support set, opened once for all learners: its features, and what the learned heads make of them.

    Attributes:
        images: the records; those of its query beside them.
        good, defects: how many were asked for.
        seed: of the draw and of the adaptations.
        view: the support through the default eye. prepared: what learned heads see of it; None where there are none.
        seconds: what all adaptations to it share, from cached features on.
    """

    def __init__(
        self,
        eye: Eye,
        images: EpisodeImages,
        inputs: tuple[LevelGroups, InvariantConfig] | None,
        *,
        good: int,
        defects: int,
        seed: int,
    ) -> None:
        start = time.perf_counter()
        self.images, self.good, self.defects, self.seed = images, good, defects, seed
        self._eye = eye
        self.view = self.through(eye)
        self.loading = time.perf_counter() - start
        self.prepared = None if inputs is None else prepare_support(self.view.support, *inputs, seed=seed)
        self.seconds = time.perf_counter() - start
        self._last: tuple[Query, HeadInputs] | None = None

    def through(self, eye: Eye) -> View:
        """The support as an eye sees it."""
        images = self.images
        return view_of(eye.backbone, images.good, images.defects, features=eye.features, seed=self.seed)

    def inputs_of(self, query: Query) -> HeadInputs:
        """What learned heads see of a query, computed once for all of them."""
        assert self.prepared is not None
        if self._last is None or self._last[0] is not query:
            self._last = None  # one query's inputs at a time: they are large
            self._last = query, self.prepared.inputs.of_query(query.levels(self._eye))
        return self._last[1]


class Adapted:
    """A head, the support it came from, and through which eye; `seconds` from cached features to the head, what is
    shared included.
    """

    def __init__(self, head: AnomalyHead, support: Support, view: View, eye: Eye, seconds: float) -> None:
        self.head, self.view, self.eye, self.seconds = head, view, eye, seconds
        self._support = support
        self._last: tuple[Query, AnomalyOutput] | None = None

    def output(self, query: Query) -> AnomalyOutput:
        """Its scores of a query."""
        if self._last is None or self._last[0] is not query:
            if isinstance(self.head, LearnedHead):
                with torch.no_grad():
                    output = self.head.output_of(self._support.inputs_of(query))
            else:
                output = score_levels(self.head, query.levels(self.eye))
            self._last = query, output
        return self._last[1]
