"""What the command says of a roll-back."""

from __future__ import annotations

from flows.roll_back.job import RollBackResult
from flows.roll_back.request import RollBackRequest
from flows.terminal.console import literal, out


def show(_request: RollBackRequest, result: RollBackResult) -> int:
    """What is live now."""
    out().print(literal(f"Live for {result.line}: {result.live}"))
    out().print(literal(f"{result.rolled_back} is rolled back: only a person promotes it again."))
    return 0
