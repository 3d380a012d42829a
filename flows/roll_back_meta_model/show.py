"""What the command says of a meta-model's roll-back."""

from __future__ import annotations

from flows.roll_back_meta_model.job import RollBackMetaModelResult
from flows.roll_back_meta_model.request import RollBackMetaModelRequest
from flows.terminal.console import literal, out


def show(_request: RollBackMetaModelRequest, result: RollBackMetaModelResult) -> int:
    """What is live now."""
    out().print(literal(result.sentence))
    out().print(literal(f"{result.rolled_back} is rolled back: only a person makes it live again, with --version."))
    return 0
