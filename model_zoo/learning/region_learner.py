"""A region of interest for any learner: it adapts to what of a support lies inside, see `heads.region_head`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model_zoo.heads.region_head import RegionHead, SupportStandIns
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, Learner


class RegionLearner(Learner):
    """Another learner, shown supports within their region of interest. Those without one it sees as they are."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.name, self.config = learner.name, learner.config
        self.chooses_size, self.uses_defects = learner.chooses_size, learner.uses_defects
        self.sees_tiles, self.most_defects = learner.sees_tiles, learner.most_defects

    def choose(self, support: SupportSet, *, seed: int, prepared: Any = None) -> Adaptation:
        """Adapt within the support's region; see `pipeline.learner.Learner`."""
        if support.looked_at is None:
            return self._learner.choose(support, seed=seed, prepared=prepared)
        stand_ins = SupportStandIns.of(support)
        found = self._learner.choose(stand_ins.within(support), seed=seed)
        return replace(found, head=RegionHead(found.head, stand_ins, support).eval())

    def through(self, spec: BackboneSpec) -> RegionLearner | None:
        """The other learner's for that backbone, in a region as well."""
        learner = self._learner.through(spec)
        return None if learner is None else RegionLearner(learner)

    @property
    def fallback(self) -> str | None:
        """The other learner's."""
        return self._learner.fallback

    def settings(self) -> dict[str, Any]:
        """The other learner's."""
        return self._learner.settings()
