"""The protocols every learner fills in. Export and scoring never know which learner made a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from pipeline.episodes import Episode, SupportSet


class AnomalyOutput(NamedTuple):
    """What a head says about B images, on the finest grid H x W.

    image_score: (B,) float32, higher is more anomalous, unbounded. anomaly_map: (B, H, W) float32, likewise.
    nearest: (B, h, w) int64, for each cell of the coarsest level the row of its bank the cell was compared with.
    """

    image_score: Tensor
    anomaly_map: Tensor
    nearest: Tensor


class AnomalyHead(nn.Module):
    """Feature levels in, `AnomalyOutput` out: a plain module without data-dependent control flow, so it exports.

    Attributes:
        bank_sources: (N, 4) int64, for each row of the coarsest bank: good image, augmentation (-1: none), row, column.
    """

    bank_sources: Tensor

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels, finest first."""
        raise NotImplementedError

    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images, each scored without its own patches: what calibration rests on. Not exported."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class OuterStepReport:
    """What one outer step did: the query loss before the update, and any further named figures."""

    loss: float
    figures: dict[str, float]


@runtime_checkable
class Learner(Protocol):
    """Turns a support set into a head."""

    name: str

    def adapt(self, support: SupportSet, *, seed: int) -> AnomalyHead:
        """Adapt to one line. Equal support and seed give equal heads; the support is not changed."""
        ...


@runtime_checkable
class MetaLearner(Learner, Protocol):
    """A learner whose initialisation is itself learned over episodes. It owns its outer optimiser."""

    def prepare(self, episode: Episode) -> Any:
        """The part of an outer step that never changes for an episode; the outer loop keeps it."""
        ...

    def outer_step(self, tasks: Sequence[Any]) -> OuterStepReport:
        """One update of the meta-parameters from prepared episodes."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The meta-parameters by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take over meta-parameters."""
        ...

    def outer_state(self) -> dict[str, Any]:
        """What resuming the outer loop needs beside the meta-parameters: tensors and plain values only."""
        ...

    def load_outer_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `outer_state`."""
        ...
