"""Auto: a whitened memory bank that learns from the defects it is shown, at the input size that suits the line.

Three things lift it over the memory bank (`benchmarks/auto.md` has the figures of each). Features are whitened: a
distance counts in the units in which this line's good parts vary. Real defects, from a single one on, add the direction
in which they leave the good parts. And of several input sizes or backbones, `evidence` tells
through which the support's defects stand out most; the job compares them by it.

Source: ours, after Roth et al., CVPR 2022; `heads.whitening` and `heads.defect_direction` name theirs.
"""

from __future__ import annotations

from model_zoo.heads.invariant_inputs import level_groups, token_levels
from model_zoo.learning.auto_head import AutoConfig, Recipe, adaptation
from pipeline.episodes import SupportSet
from pipeline.features import BackboneSpec
from pipeline.learner import Adaptation, Learner


class AutoLearner(Learner):
    """See the module."""

    name = "auto"
    chooses_size = True
    sees_tiles = True

    def __init__(self, spec: BackboneSpec, config: AutoConfig) -> None:
        self.config = config
        self._recipe = Recipe(groups=level_groups(spec), config=config, tokens=token_levels(spec))

    def through(self, spec: BackboneSpec) -> AutoLearner:
        """It knows nothing of the backbone but its levels."""
        return AutoLearner(spec, self.config)

    def choose(self, support: SupportSet, *, seed: int, prepared: None = None) -> Adaptation:  # noqa: ARG002
        """Whiten, build the bank, find the defects' direction; see `pipeline.learner.Learner`."""
        return adaptation(support, self._recipe, seed=seed)
