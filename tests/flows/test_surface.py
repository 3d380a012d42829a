"""What users and their scripts hold on to: commands with their flags, requests, deployments, settings, public names.

The surface changes on purpose only: `python -m tests.flows.test_surface` writes `surface.json` anew, and its diff is
what a reader of the commit, and of the changelog, looks at.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import typer

from flows import cli
from flows.activities import ACTIVITIES, DEPLOYMENTS
from flows.asking.flags import plain_type, shown
from pipeline.settings import Settings
from tests.checkout import REPOSITORY

PINNED = Path(__file__).with_name("surface.json")
BEFORE = Path(__file__).with_name("flags_of_before.json")
FACES = (
    "pipeline/errors.py",
    "pipeline/learner.py",
    "pipeline/settings.py",
    "pipeline/product_lines/lines.py",
    "model_zoo/learner_table.py",
    "deploy/bundles/bundle.py",
    "deploy/bundles/registry.py",
    "deploy/engine/runtime.py",
    "deploy/results/store.py",
    "flows/activities.py",
    "flows/asking/request.py",
    "linewise/line.py",
    "linewise/result.py",
)
"""Modules that scripts of our users begin at."""


def surface() -> dict[str, Any]:
    return {
        "commands": {name: sorted(options) for name, options in commands()},
        "requests": {
            activity.request_class.__name__: {
                name: f"{kind(field.annotation)}, required" if field.is_required() else _default(field)
                for name, field in activity.request_class.ordered_fields().items()
            }
            for activity in ACTIVITIES
        },
        "deployments": list(DEPLOYMENTS),
        "settings": sorted(f"LINEWISE_{name.upper()}" for name in Settings.model_fields),
        "names": {face: public_names(REPOSITORY / face) for face in FACES},
    }


def commands() -> list[tuple[str, list[str]]]:
    return [
        (name, ["/".join((*option.opts, *option.secondary_opts)) for option in command.params])
        for name, command in _leaves(typer.main.get_command(cli.app), ())
    ]


def _leaves(command: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        return [(" ".join(path), command)]
    return [leaf for name, inner in command.commands.items() for leaf in _leaves(inner, (*path, name))]


def kind(annotation: Any) -> str:
    found = plain_type(annotation)
    return found.__name__ if isinstance(found, type) else str(found).replace("typing.", "")


def _default(field: Any) -> str:
    return f"{kind(field.annotation)} = {shown(field.default)}"


def public_names(file: Path) -> list[str]:
    """Public functions and classes of a module, with the public methods and properties of a class."""
    names = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            names.append(node.name)
            if isinstance(node, ast.ClassDef):
                inner = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
                names += [f"{node.name}.{name}" for name in inner if not name.startswith("_")]
    return sorted(names)


def test_the_surface_changes_on_purpose_only():
    pinned = json.loads(PINNED.read_text())
    now = surface()
    for part, content in now.items():
        assert content == pinned[part], (
            f"{part}: if meant, run python -m tests.flows.test_surface and tell it in the log"
        )
    assert set(pinned) == set(now)


def test_flags_that_users_had_before_requests_made_them_still_work():
    """Those of the last version whose flags were written by hand."""
    now = {name: {part for option in options for part in option.split("/")} for name, options in commands()}
    for command, flags in json.loads(BEFORE.read_text()).items():
        assert set(flags) <= now[command], command


def test_every_field_of_an_activity_is_explained():
    for activity in ACTIVITIES:
        for name, field in activity.request_class.ordered_fields().items():
            assert (field.description or "").endswith("."), f"{activity.command}: {name}"


if __name__ == "__main__":
    PINNED.write_text(json.dumps(surface(), indent=1) + "\n")
