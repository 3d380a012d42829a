"""What the command says of tending a plant's lines."""

from __future__ import annotations

from flows.life.job import Outcome, TendResult
from flows.life.request import TendRequest
from flows.terminal.console import err, literal, out


def show(_request: TendRequest, result: TendResult) -> int:
    """What became of each line, and why; 1 where one failed or is held."""
    if not result.lines:
        out().print(literal(f"No line's folder in {result.folder}."))
    for line in result.lines:
        told = literal(f"{line.name}: {line.outcome.value}, {line.why}")
        if line.outcome is Outcome.FAILED:
            err().print(f"[red]{told}")
        else:
            out().print(told)
    return int(bool(result.of(Outcome.FAILED, Outcome.HELD)))
