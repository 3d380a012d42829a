"""What an evaluation adapts to and judges by: supports and queries of a line, opened once for all learners."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import View, view_of
from pipeline.episode_draws import EpisodeImages
from pipeline.episodes import TensorLevels
from pipeline.evaluation import Truth, score_levels
from pipeline.input_size import InputSize
from pipeline.learner import AnomalyHead, AnomalyOutput, Learner, Preparation, SharedInputs
from pipeline.product_lines.lines import ImageRecord
from pipeline.settings import Settings
from pipeline.support import build_query


class CachedBackbone:
    """The backbone at one input size, and its cached features."""

    def __init__(self, name: str, size: InputSize, settings: Settings) -> None:
        self.opened: OpenBackbone = open_backbone(name, size, settings)
        self.features = self.opened.cached(settings)
        self.preprocess = self.opened.preprocess()


class Query:
    """A line's query images and what is known of them; their features through any backbone."""

    def __init__(self, records: Sequence[ImageRecord], truth: Truth) -> None:
        self.records, self.truth = tuple(records), truth
        self._levels: dict[int, TensorLevels] = {}

    def levels(self, backbone: CachedBackbone) -> TensorLevels:
        """Its feature levels, opened once."""
        if id(backbone) not in self._levels:
            self._levels[id(backbone)] = build_query(self.records, backbone.features, backbone.preprocess).levels
        return self._levels[id(backbone)]


class Support:
    """A support set, opened once for all learners.

    Attributes:
        images: the records; those of its query beside them.
        good, defects, unlabelled: how many were asked for.
        seed: of the draw and of the adaptations.
        view: the support through the default backbone.
        seconds: what it took to open, from cached features on.
    """

    def __init__(
        self,
        backbone: CachedBackbone,
        images: EpisodeImages,
        *,
        good: int,
        defects: int,
        unlabelled: int = 0,
        seed: int,
    ) -> None:
        start = time.perf_counter()
        self.images, self.seed = images, seed
        self.good, self.defects, self.unlabelled = good, defects, unlabelled
        self._backbone = backbone
        self.view = self.through(backbone)
        self.seconds = time.perf_counter() - start
        self._prepared: dict[Preparation, tuple[Any, float]] = {}
        self._last: tuple[Query, SharedInputs, Any] | None = None

    def through(self, backbone: CachedBackbone) -> View:
        """The support as another backbone sees it."""
        images = self.images
        return view_of(backbone.opened, images.good, images.defects, features=backbone.features, seed=self.seed)

    def prepared_for(self, learner: Learner) -> tuple[Any, float]:
        """What the learner shares with others, made once for all of them, and the seconds that took."""
        preparation = learner.preparation
        if preparation is None:
            return None, 0.0
        if preparation not in self._prepared:
            start = time.perf_counter()
            prepared = preparation(self.view.support, self.seed)
            self._prepared[preparation] = prepared, time.perf_counter() - start
        return self._prepared[preparation]

    def seen_through(self, inputs: SharedInputs, query: Query) -> Any:
        """What heads see of a query through the inputs that they share, computed once for all of them."""
        if self._last is None or self._last[0] is not query or self._last[1] is not inputs:
            self._last = None  # one query's inputs at a time: they are large
            self._last = query, inputs, inputs.of_query(query.levels(self._backbone))
        return self._last[2]


class AdaptedHead:
    """A head, the support it came from, and through which backbone; `seconds` from cached features to the head, what is
    shared included; `took_up`: whether it learned from unlabelled images.
    """

    def __init__(
        self,
        head: AnomalyHead,
        support: Support,
        view: View,
        backbone: CachedBackbone,
        seconds: float,
        alone: AnomalyOutput | None = None,
        took_up: bool = False,
    ) -> None:
        self.head, self.view, self.backbone, self.seconds, self.alone = head, view, backbone, seconds, alone
        self.took_up = took_up
        self._support = support
        self._last: tuple[Query, AnomalyOutput] | None = None

    @torch.no_grad()
    def output(self, query: Query) -> AnomalyOutput:
        """Its scores of a query."""
        if self._last is None or self._last[0] is not query:
            inputs = self.head.shared_inputs
            if inputs is None:
                output = score_levels(self.head, query.levels(self.backbone))
            else:
                output = self.head.output_of(self._support.seen_through(inputs, query))
            self._last = query, output
        return self._last[1]
