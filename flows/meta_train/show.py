"""What the command says of a meta-training run."""

from __future__ import annotations

from typing import Any

from flows.meta_train.request import MetaTrainRequest
from flows.terminal.console import literal, out


def show(_request: MetaTrainRequest, result: Any) -> int:
    """What was learned (a `MetaTrainResult`), and where it is."""
    model = result.model
    loss = "" if model.final_loss is None else f", final loss {model.final_loss:.4f}"
    cost = f"{result.seconds:.0f} s on {model.trained_on}"
    out().print(literal(f"{model.identifier}: {len(model.lines)} lines, {cost}{loss}"))
    for name, value in result.held_out.items():
        out().print(literal(f"  {name.replace('_', ' ')}: {value:.3f}"))
    out().print(f"Meta-model: {literal(str(result.folder))}")
    return 0
