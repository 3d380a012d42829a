"""`linewise learners` and `linewise backbones`: what can be chosen."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows.commands.console import JsonOption, out, table, write_json
from flows.jobs.requests import DEFAULT_BACKBONE


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("learners")(learners)
    app.command("backbones")(backbones)


def learners(
    cost: Annotated[
        bool, typer.Option("--cost", help="Also what a learner's head costs when it scores; takes some seconds.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """List the learners: family, source, what a line gets of its own; with --cost what scoring costs, for the source.

    The cost is counted, not timed: multiply-adds of convolutions and matrix products for one image of 256 px with the
    default backbone, of backbone and head together in units of the backbone alone; and the numbers that a head stores.
    Comparisons, element-wise operations and decoding are not counted. 512 px, which auto may choose, cost four times as
    much.
    """
    entries = import_module("model_zoo.learner_table").LEARNERS
    costs = import_module("model_zoo.learner_cost").learner_costs() if cost else {}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "family": entry.family,
            "adapts": entry.adapts,
            "meta_trained": entry.is_meta,
            "source": entry.source,
            **({"cost": costs[name].relative, "head_numbers": costs[name].numbers} if costs else {}),
        }
        for name, entry in entries.items()
    ]
    write_json(json_path, rows)
    if json_path is not None:
        return
    columns = ("cost", "head") if costs else ("source",)  # one table of all would be too wide to read
    listing = table("Learners", "name", "family", "adapts", "meta-trained", *columns)
    listing.columns[0].no_wrap = True  # a name is what one copies
    for row in rows:
        cells = [row["name"], row["family"], row["adapts"], "yes" if row["meta_trained"] else "no"]
        cells += [f"{row['cost']:.2f} x", f"{row['head_numbers'] / 1e6:.2f} M"] if costs else [row["source"]]
        listing.add_row(*map(escape, cells))
    out().print(listing)
    if costs:
        out().print(
            "cost: multiply-adds of backbone and head for one image, in units of the backbone alone; "
            "head: numbers it stores (see --help)"
        )


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
