"""Every learner by name: its family, its source, what it adapts, and how to make one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from model_zoo.learners.abml import AbmlConfig, AbmlLearner
from model_zoo.learners.bmaml import BmamlConfig, BmamlLearner
from model_zoo.learners.hypernetwork import HypernetworkConfig, HypernetworkLearner
from model_zoo.learners.maml import MamlConfig, MamlLearner
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from model_zoo.learners.meta_sgd import MetaSgdConfig, MetaSgdLearner
from model_zoo.learners.prototypical import PrototypicalConfig, PrototypicalLearner
from model_zoo.learners.reptile import ReptileConfig, ReptileLearner
from model_zoo.learners.transfer import TransferConfig, TransferLearner
from pipeline.errors import ConfigError
from pipeline.features import BackboneSpec
from pipeline.learner import Learner


@dataclass(frozen=True, kw_only=True)
class LearnerEntry:
    """One row of the table.

    Args:
        family: of the method. source: paper. adapts: what is the line's own after adaptation.
        is_meta: whether the outer loop trains it.
        make: (backbone spec, outer steps, pooled steps, seed) -> learner; the steps matter to meta-learners only.
    """

    family: str
    source: str
    adapts: str
    is_meta: bool
    make: Callable[[BackboneSpec, int, int, int], Learner]


LEARNERS: dict[str, LearnerEntry] = {
    "memory_bank": LearnerEntry(
        family="memory bank",
        source="Roth et al., CVPR 2022",
        adapts="bank",
        is_meta=False,
        make=lambda spec, _outer, _pooled, _seed: MemoryBankLearner(spec, MemoryBankConfig()),
    ),
    "transfer": LearnerEntry(
        family="transfer",
        source="Chen et al., ICLR 2019",
        adapts="bank, trunk and theta, from a random start",
        is_meta=False,
        make=lambda spec, outer, _pooled, seed: TransferLearner(
            spec, TransferConfig(start="random", outer_steps=outer, pooled_steps=outer), seed=seed
        ),
    ),
    "in_context": LearnerEntry(
        family="transfer",
        source="Tian et al., ECCV 2020",
        adapts="bank",
        is_meta=True,
        make=lambda spec, outer, _pooled, seed: TransferLearner(
            spec, TransferConfig(start="in_context", outer_steps=outer, pooled_steps=outer), seed=seed
        ),
    ),
    "prototypical": LearnerEntry(
        family="prototype-based",
        source="Snell et al., NeurIPS 2017",
        adapts="bank and two prototypes",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: PrototypicalLearner(
            spec, PrototypicalConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "maml": LearnerEntry(
        family="MAML",
        source="Finn et al., ICML 2017",
        adapts="bank, theta and the trunk's last convolution",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MamlLearner(
            spec, MamlConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "hypernetwork": LearnerEntry(
        family="hypernetwork",
        source="Ha et al., ICLR 2017; Przewięźlikowski et al., 2022",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: HypernetworkLearner(
            spec, HypernetworkConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "first_order_maml": LearnerEntry(
        family="MAML",
        source="Finn et al., ICML 2017, section 5.2",
        adapts="bank, theta and the trunk's last convolution",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MamlLearner(
            spec, MamlConfig(order=1, outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "anil": LearnerEntry(
        family="MAML",
        source="Raghu et al., ICLR 2020",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MamlLearner(
            spec, MamlConfig(scope="anil", outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "reptile": LearnerEntry(
        family="MAML",
        source="Nichol et al., 2018",
        adapts="bank, theta and the trunk's last convolution",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: ReptileLearner(
            spec, ReptileConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "meta_sgd": LearnerEntry(
        family="MAML",
        source="Li et al., 2017",
        adapts="bank, theta and the trunk's last convolution",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MetaSgdLearner(
            spec, MetaSgdConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "bmaml": LearnerEntry(
        family="Bayesian",
        source="Yoon et al., NeurIPS 2018",
        adapts="bank and five thetas",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: BmamlLearner(
            spec, BmamlConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "abml": LearnerEntry(
        family="Bayesian",
        source="Ravi & Beatson, ICLR 2019",
        adapts="bank and a Gaussian over theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: AbmlLearner(
            spec, AbmlConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
}


def learner_entry(name: str) -> LearnerEntry:
    """The entry of a learner.

    Raises:
        ConfigError: unknown name; the sentence lists near ones.
    """
    if name not in LEARNERS:
        near = difflib.get_close_matches(name, LEARNERS, n=3) or sorted(LEARNERS)
        raise ConfigError("the name of a learner", repr(name), f"use one of: {', '.join(near)}")
    return LEARNERS[name]


def make_learner(
    name: str, spec: BackboneSpec, *, outer_steps: int = 600, pooled_steps: int = 450, seed: int = 0
) -> Learner:
    """A fresh learner; see `learner_entry`."""
    return learner_entry(name).make(spec, outer_steps, pooled_steps, seed)
