"""Every learner by name: its family, its source, what it adapts, and how to make one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from model_zoo.learners.autoregressive import AutoregressiveConfig, AutoregressiveLearner
from model_zoo.learners.hypernetwork import HypernetworkConfig, HypernetworkLearner
from model_zoo.learners.leo import LeoConfig, LeoLearner
from model_zoo.learners.maml import MamlConfig, MamlLearner
from model_zoo.learners.maml_gan import MamlGanConfig, MamlGanLearner
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from model_zoo.learners.meta_sgd_hypernetwork import MetaSgdHypernetworkConfig, MetaSgdHypernetworkLearner
from model_zoo.learners.neural_process import NeuralProcessConfig, NeuralProcessLearner
from model_zoo.learners.prototypical import PrototypicalConfig, PrototypicalLearner
from model_zoo.learners.transfer import TransferConfig, TransferLearner
from model_zoo.learners.vae import VaeConfig, VaeLearner
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
    "meta_sgd_hn": LearnerEntry(
        family="hypernetwork",
        source="ours, after Li et al., 2017; Ha et al., ICLR 2017",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MetaSgdHypernetworkLearner(
            spec, MetaSgdHypernetworkConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "maml_gan": LearnerEntry(
        family="generative",
        source="ours, after Goodfellow et al., NeurIPS 2014",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: MamlGanLearner(
            spec, MamlGanConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "vae": LearnerEntry(
        family="generative",
        source="Kingma & Welling, ICLR 2014; Gordon et al., ICLR 2019",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: VaeLearner(
            spec, VaeConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "leo": LearnerEntry(
        family="generative",
        source="Rusu et al., ICLR 2019",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: LeoLearner(
            spec, LeoConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "autoregressive": LearnerEntry(
        family="generative",
        source="ours, after Graves, 2013",
        adapts="bank and theta",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: AutoregressiveLearner(
            spec, AutoregressiveConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
        ),
    ),
    "neural_process": LearnerEntry(
        family="neural process",
        source="ours, after Kim et al., ICLR 2019",
        adapts="bank, context cells and a code",
        is_meta=True,
        make=lambda spec, outer, pooled, seed: NeuralProcessLearner(
            spec, NeuralProcessConfig(outer_steps=outer, pooled_steps=pooled), seed=seed
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
