"""What learners and heads are to those who use them: nobody asks which learner it is, or which one made a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from pipeline.calibration import PooledCalibration
from pipeline.episodes import Episode, SupportSet, TensorLevels
from pipeline.features import BackboneSpec


class AnomalyOutput(NamedTuple):
    """What a head says about B images, on the finest grid H x W.

    image_score: (B,) float32, higher is more anomalous, unbounded. anomaly_map: (B, H, W) float32, likewise.
    nearest: (B, h, w) int64, for each cell of the coarsest level the row of its bank the cell was compared with.
    """

    image_score: Tensor
    anomaly_map: Tensor
    nearest: Tensor


class SharedInputs(Protocol):
    """What heads adapted from one preparation of a support see images through."""

    def of_query(self, levels: TensorLevels) -> Any:
        """What they see of many images, for `AnomalyHead.output_of`."""
        ...


class AnomalyHead(nn.Module):
    """Feature levels in, `AnomalyOutput` out: a plain module without data-dependent control flow, so it exports.

    Attributes:
        bank_sources: (N, 4) int64, for each row of the coarsest bank: good image, augmentation (-1: none), row, column.
        asks_tile: whether it must be told which of an image's tiles it sees, where it is shown them one by one: their
            numbers (B,) int64, from 0 to T - 1, come behind the levels. Shown whole stacks, it knows.
    """

    bank_sources: Tensor
    asks_tile: bool = False

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels, finest first."""
        raise NotImplementedError

    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The good images, each scored without its own patches: what calibration rests on. Not exported.

        Of the K that the support holds in full at least the first 64, where there are so many.
        """
        raise NotImplementedError

    def leave_one_defect_out(self, support: SupportSet) -> Tensor | None:  # noqa: ARG002
        """Image scores (M,) of the support's defective images, each by a head that does not know it; None: only a new
        adaptation could tell.
        """
        return None

    @property
    def shared_inputs(self) -> SharedInputs | None:
        """What it sees images through, where other heads of the support may see them through the same; None: nothing
        between the feature levels and it.
        """
        return None

    def output_of(self, inputs: Any) -> AnomalyOutput:
        """The scores of what its `shared_inputs` made of some images."""
        raise NotImplementedError

    def calibration_of(self, pooled: PooledCalibration) -> PooledCalibration:
        """The part of its learner's calibration that this head's thresholds are pooled from."""
        return pooled


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the support chose.

    Args:
        what: about.
        evidence: of each candidate, higher is better.
        lead: by which another candidate's must be higher than the first one's.
    """

    what: str
    evidence: Mapping[str, float]
    lead: float = 0.0

    @property
    def chosen(self) -> str:
        """The candidate of most evidence, the first of equals, or the first where the lead is too small."""
        best, first = max(self.evidence, key=self.evidence.__getitem__), next(iter(self.evidence))
        return best if self.evidence[best] > self.evidence[first] + self.lead else first


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """A head, and why it is as it is.

    Args:
        head: of the line.
        choices: in the order in which a card shows them.
        evidence: by which the heads of several input sizes are compared; 0 where the learner takes one size only.
    """

    head: AnomalyHead
    choices: tuple[Choice, ...] = ()
    evidence: float = 0.0


Preparation = Callable[[SupportSet, int], Any]
"""Support and seed to what is the same for all learners that prepare alike: it hashes, and equals theirs."""


class Learner:
    """Turns a support set into a head. A learner fills in `choose`; what it does not need stays as it is here.

    Attributes:
        name: in the table of learners.
        config: its settings, a dataclass.
        chooses_size: whether the evidence of its adaptations tells at which of several input sizes a line is seen best.
        uses_defects: whether defective images of the support, synthetic ones among them, make a difference.
        sees_tiles: whether it can adapt to images that are seen as tiles, see `SupportSet.tiles`.
        most_defects: how many real ones it can take, as its time grows with them; None: as many as there are.
    """

    name: str
    config: Any
    chooses_size: bool = False
    uses_defects: bool = True
    sees_tiles: bool = False
    most_defects: int | None = None

    def choose(self, support: SupportSet, *, seed: int, prepared: Any = None) -> Adaptation:
        """Adapt to one line. Equal support and seed give equal heads; neither learner nor support is changed.

        `prepared` is what `preparation` made of this support and seed, where it is at hand.
        """
        raise NotImplementedError

    def through(self, spec: BackboneSpec) -> Learner | None:  # noqa: ARG002
        """The same learner for another backbone; None: what it knows is of the one it was made for."""
        return None

    def adapt(self, support: SupportSet, *, seed: int) -> AnomalyHead:
        """The head alone of what `choose` gives."""
        return self.choose(support, seed=seed).head

    @property
    def preparation(self) -> Preparation | None:
        """The part of an adaptation that it shares with other learners; None: there is none."""
        return None

    @property
    def fallback(self) -> str | None:
        """Name of the learner whose head a new line may get instead of this one's; None: it always gets its own."""
        return None

    def unguarded(self) -> Self:
        """This learner without a fallback, its parameters shared: to judge it by, and to pool its thresholds."""
        return self

    def possible_heads(self, support: SupportSet, *, seed: int) -> list[AnomalyHead]:
        """A head of the support for every structure that a head of this learner may have."""
        return [self.adapt(support, seed=seed)]

    def settings(self) -> dict[str, Any]:
        """Its configuration, ready for JSON."""
        return asdict(self.config)

    def state_dict(self) -> dict[str, Any]:
        """Its parameters by name; none where nothing about it is learned."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take over parameters.

        Raises:
            RuntimeError: they are not this learner's.
        """
        if state_dict:
            raise RuntimeError(f"{self.name} has no parameters")

    def as_meta(self) -> MetaLearner | None:
        """This learner as one that an outer loop trains; None: it learns nothing from other lines."""
        return None


@dataclass(frozen=True, kw_only=True)
class OuterStepReport:
    """What one outer step did: the query loss before the update, and any further named figures."""

    loss: float
    figures: dict[str, float]


class MetaLearner(Learner):
    """A learner whose initialisation is itself learned over episodes. It owns its outer optimiser.

    Its config has `outer_steps`, the length of its outer loop, and `pooled_steps`, how many of them come first and
    train on all lines together what its own steps start from.
    """

    def prepare(self, episode: Episode) -> Any:
        """The part of an outer step that never changes for an episode; the outer loop keeps it."""
        raise NotImplementedError

    def outer_step(self, tasks: Sequence[Any]) -> OuterStepReport:
        """One update of the meta-parameters from prepared episodes."""
        raise NotImplementedError

    def warm_start(self, pooled: Learner) -> None:
        """Begin with its own steps, from what another learner's pooled ones gave."""
        raise NotImplementedError

    def good_scores(self, task: Any, *, seed: int) -> tuple[Tensor, Tensor]:
        """Image scores of a prepared episode's good images after an unguarded adaptation: (K,) of the support, each
        without its own patches, and those of the query. What thresholds are pooled from.
        """
        raise NotImplementedError

    def validation_loss(self, tasks: Sequence[Any]) -> float:
        """The mean loss on the query sets of prepared episodes, each after an unguarded adaptation to its support."""
        raise NotImplementedError

    def to_device(self, device: torch.device) -> None:
        """Take parameters and outer state to the device that is to train them."""
        raise NotImplementedError

    def outer_state(self) -> dict[str, Any]:
        """What resuming the outer loop needs beside the meta-parameters: tensors and plain values only."""
        raise NotImplementedError

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`."""
        raise NotImplementedError

    def as_meta(self) -> MetaLearner | None:
        """Itself, unless it is made to learn from the support alone."""
        return self
