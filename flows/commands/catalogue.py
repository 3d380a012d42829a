"""`linewise learners` and `linewise backbones`: what can be chosen."""

from __future__ import annotations

from importlib import import_module

import typer
from rich.markup import escape

from flows.commands.console import JsonOption, out, table, write_json
from flows.jobs.requests import DEFAULT_BACKBONE


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("learners")(learners)
    app.command("backbones")(backbones)


def learners(json_path: JsonOption = None) -> None:
    """List the learners: family, source, what a line gets of its own."""
    entries = import_module("model_zoo.learner_table").LEARNERS
    rows = [
        {
            "name": name,
            "family": entry.family,
            "adapts": entry.adapts,
            "meta_trained": entry.is_meta,
            "source": entry.source,
        }
        for name, entry in entries.items()
    ]
    write_json(json_path, rows)
    if json_path is not None:
        return
    listing = table("Learners", "name", "family", "adapts", "meta-trained", "source")
    listing.columns[0].no_wrap = True  # a name is what one copies
    for row in rows:
        cells = (row["name"], row["family"], row["adapts"], "yes" if row["meta_trained"] else "no", row["source"])
        listing.add_row(*map(escape, cells))
    out().print(listing)


def backbones(json_path: JsonOption = None) -> None:
    """List the backbones with a recipe of their own; any timm model that gives feature maps works by its name too."""
    names: tuple[str, ...] = import_module("model_zoo.backbones").BACKBONES
    write_json(json_path, [{"name": name, "default": name == DEFAULT_BACKBONE} for name in names])
    if json_path is not None:
        return
    for name in names:
        out().print(escape(name) + ("  (default)" if name == DEFAULT_BACKBONE else ""))
    out().print(
        "Any timm model that gives feature maps works by its name as well, given its weights as "
        "weights/NAME.safetensors or .pth in the home folder."
    )
