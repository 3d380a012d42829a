"""Every learner by name: its family, its source, what it adapts, and how to make one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from model_zoo.learners.abml import AbmlConfig, AbmlLearner
from model_zoo.learners.auto import AutoLearner
from model_zoo.learners.autoregressive import AutoregressiveConfig, AutoregressiveLearner
from model_zoo.learners.bmaml import BmamlConfig, BmamlLearner
from model_zoo.learners.hypernetwork import HypernetworkConfig, HypernetworkLearner
from model_zoo.learners.leo import LeoConfig, LeoLearner
from model_zoo.learners.maml import MamlConfig, MamlLearner
from model_zoo.learners.maml_gan import MamlGanConfig, MamlGanLearner
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from model_zoo.learners.meta_sgd import MetaSgdConfig, MetaSgdLearner
from model_zoo.learners.meta_sgd_hypernetwork import MetaSgdHypernetworkConfig, MetaSgdHypernetworkLearner
from model_zoo.learners.neural_process import NeuralProcessConfig, NeuralProcessLearner
from model_zoo.learners.prototypical import PrototypicalConfig, PrototypicalLearner
from model_zoo.learners.reptile import ReptileConfig, ReptileLearner
from model_zoo.learners.shared_direction import SharedDirectionConfig, SharedDirectionLearner
from model_zoo.learners.transfer import TransferConfig, TransferLearner
from model_zoo.learners.vae import VaeConfig, VaeLearner
from model_zoo.learning.auto_head import AutoConfig
from pipeline.errors import ConfigError
from pipeline.features import BackboneSpec
from pipeline.learner import Learner

Make = Callable[[BackboneSpec, int, int, int], Learner]


@dataclass(frozen=True)
class LearnerEntry:
    """One row of the table.

    Args:
        family: of the method. source: paper. adapts: what is the line's own after adaptation.
        make: (backbone spec, outer steps, pooled steps, seed) -> learner; the steps matter to meta-learners only.
        is_meta: whether the outer loop trains it.
    """

    family: str
    source: str
    adapts: str
    make: Make
    is_meta: bool = True


def _meta(learner: Any, config: Any, **settings: Any) -> Make:
    """Makes a learner whose first steps are the pooled ones."""
    return lambda spec, outer, pooled, seed: learner(
        spec, config(outer_steps=outer, pooled_steps=pooled, **settings), seed=seed
    )


def _transfer(start: Literal["random", "in_context"]) -> Make:
    """Makes a transfer learner: all of its steps are pooled ones.

    The one that learns from the support alone is not guarded: to fit it twice more takes longer than all the rest of
    an adaptation.
    """
    return lambda spec, outer, _pooled, seed: TransferLearner(
        spec, TransferConfig(start=start, outer_steps=outer, pooled_steps=outer, guard=start != "random"), seed=seed
    )


def _memory_bank(spec: BackboneSpec, _outer: int, _pooled: int, _seed: int) -> Learner:
    return MemoryBankLearner(spec, MemoryBankConfig())


def _auto(spec: BackboneSpec, _outer: int, _pooled: int, _seed: int) -> Learner:
    return AutoLearner(spec, AutoConfig())


def _shared_direction(spec: BackboneSpec, outer: int, _pooled: int, _seed: int) -> Learner:
    """All of its steps are pooled ones, and none of them is left to chance."""
    return SharedDirectionLearner(spec, SharedDirectionConfig(outer_steps=outer, pooled_steps=outer))


_THETA = "bank and theta"
_LOCAL = "bank, theta and the trunk's last convolution"

LEARNERS: dict[str, LearnerEntry] = {
    "auto": LearnerEntry(
        "memory bank",
        "ours, after Roth et al., CVPR 2022; Fisher, 1936",
        "bank, defect direction and input size",
        _auto,
        is_meta=False,
    ),
    "shared_direction": LearnerEntry(
        "transfer",
        "ours, after Yao et al., NeurIPS 2024",
        "bank, defect direction and input size",
        _shared_direction,
    ),
    "memory_bank": LearnerEntry("memory bank", "Roth et al., CVPR 2022", "bank", _memory_bank, is_meta=False),
    "transfer": LearnerEntry(
        "transfer",
        "Chen et al., ICLR 2019",
        "bank, trunk and theta, from a random start",
        _transfer("random"),
        is_meta=False,
    ),
    "in_context": LearnerEntry("transfer", "Tian et al., ECCV 2020", "bank", _transfer("in_context")),
    "prototypical": LearnerEntry(
        "prototype-based",
        "Snell et al., NeurIPS 2017; Allen et al., ICML 2019",
        "bank, a normal and several defect prototypes",
        _meta(PrototypicalLearner, PrototypicalConfig),
    ),
    "maml": LearnerEntry("MAML", "Finn et al., ICML 2017", _LOCAL, _meta(MamlLearner, MamlConfig)),
    "first_order_maml": LearnerEntry(
        "MAML", "Finn et al., ICML 2017, section 5.2", _LOCAL, _meta(MamlLearner, MamlConfig, order=1)
    ),
    "anil": LearnerEntry("MAML", "Raghu et al., ICLR 2020", _THETA, _meta(MamlLearner, MamlConfig, scope="anil")),
    "reptile": LearnerEntry("MAML", "Nichol et al., 2018", _LOCAL, _meta(ReptileLearner, ReptileConfig)),
    "meta_sgd": LearnerEntry("Meta-SGD", "Li et al., 2017", _LOCAL, _meta(MetaSgdLearner, MetaSgdConfig)),
    "hypernetwork": LearnerEntry(
        "hypernetwork",
        "Ha et al., ICLR 2017; Przewięźlikowski et al., 2022",
        _THETA,
        _meta(HypernetworkLearner, HypernetworkConfig),
    ),
    "meta_sgd_hn": LearnerEntry(
        "hypernetwork",
        "ours, after Li et al., 2017; Ha et al., ICLR 2017",
        _THETA,
        _meta(MetaSgdHypernetworkLearner, MetaSgdHypernetworkConfig),
    ),
    "bmaml": LearnerEntry(
        "Bayesian", "Yoon et al., NeurIPS 2018", "bank and five thetas", _meta(BmamlLearner, BmamlConfig)
    ),
    "abml": LearnerEntry(
        "Bayesian", "Ravi & Beatson, ICLR 2019", "bank and a Gaussian over theta", _meta(AbmlLearner, AbmlConfig)
    ),
    "neural_process": LearnerEntry(
        "neural process",
        "ours, after Kim et al., ICLR 2019",
        "bank, context cells and a code",
        _meta(NeuralProcessLearner, NeuralProcessConfig),
    ),
    "maml_gan": LearnerEntry(
        "generative", "ours, after Goodfellow et al., NeurIPS 2014", _THETA, _meta(MamlGanLearner, MamlGanConfig)
    ),
    "vae": LearnerEntry(
        "generative",
        "Kingma & Welling, ICLR 2014; Gordon et al., ICLR 2019",
        _THETA,
        _meta(VaeLearner, VaeConfig),
    ),
    "leo": LearnerEntry("generative", "Rusu et al., ICLR 2019", _THETA, _meta(LeoLearner, LeoConfig)),
    "autoregressive": LearnerEntry(
        "generative", "ours, after Graves, 2013", _THETA, _meta(AutoregressiveLearner, AutoregressiveConfig)
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
    name: str, spec: BackboneSpec, *, outer_steps: int = 600, pooled_steps: int | None = None, seed: int = 0
) -> Learner:
    """A fresh learner; see `learner_entry`.

    Args:
        name: in the table.
        spec: of the backbone.
        outer_steps: length of the outer loop, all in all; what a person calls its iterations.
        pooled_steps: how many of them train trunk and theta0 on all lines together, before the learner's own; None:
            three quarters. All of them for a learner that has none of its own.
        seed: of the initial weights and of what the outer loop samples.
    """
    pooled = round(0.75 * outer_steps) if pooled_steps is None else pooled_steps
    return learner_entry(name).make(spec, outer_steps, pooled, seed)
