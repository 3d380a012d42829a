"""MAML: an initialisation from which a few gradient steps on the support suffice.

Source: Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning", ICML 2017 (algorithm 1). Variants by config: first order
(FOMAML, section 5.2), and ANIL (Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020), which adapts theta only.
With `scope="full"` the trunk adapts as well; otherwise MAML and ANIL would be the same thing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model_zoo.learning.learned_start import LearnedStart, LearnedStartConfig
from pipeline.features import BackboneSpec


@dataclass(frozen=True, kw_only=True)
class MamlConfig(LearnedStartConfig):
    """The variant.

    Args:
        order: 2 differentiates through the inner steps, 1 does not.
        scope: "full" adapts theta and the trunk's last convolution, "anil" theta only.
    """

    order: Literal[1, 2] = 2
    scope: Literal["full", "anil"] = "full"


class MamlLearner(LearnedStart):
    """See the module."""

    def __init__(self, spec: BackboneSpec, config: MamlConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.order = config.order
        self.adapts = "local" if config.scope == "full" else "theta"
        self.name = "anil" if config.scope == "anil" else {1: "first_order_maml", 2: "maml"}[config.order]
