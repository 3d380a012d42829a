"""What an adaptation decided by the support's evidence, and the head it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.learner import AnomalyHead


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the support chose: what about, and each candidate's evidence, higher is better."""

    what: str
    evidence: Mapping[str, float]

    @property
    def chosen(self) -> str:
        """The candidate of most evidence, the first of equals."""
        return max(self.evidence, key=self.evidence.__getitem__)


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
