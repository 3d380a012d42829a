"""What the command says of a meta-training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.terminal.console import out

if TYPE_CHECKING:  # at run time the results come from the jobs, which the command imports by name
    pass


def show_meta_training(result: Any) -> None:
    """What was learned (a `MetaTrainResult`), and where it is."""
    model = result.model
    loss = "" if model.final_loss is None else f", final loss {model.final_loss:.4f}"
    cost = f"{result.seconds:.0f} s on {model.trained_on}"
    out().print(escape(f"{model.identifier}: {len(model.lines)} lines, {cost}{loss}"))
    for name, value in result.held_out.items():
        out().print(escape(f"  {name.replace('_', ' ')}: {value:.3f}"))
    out().print(f"Meta-model: {escape(str(result.folder))}")
