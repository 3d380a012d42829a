"""Commands made of requests: what is a flag, what is an argument, what is said of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from flows.asking.flags import Flag, command_of
from flows.asking.request import Request
from flows.asking.request_fields import Several
from pipeline.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Shared(Request):
    strength: float = Field(default=0.5, gt=0, le=1, description="How much.")
    json_path: Path | None = Field(default=None, description="File to write.")


class PaintRequest(Shared):
    """Paint a wall."""

    wall: Annotated[str, Field(description="Which wall."), Flag(metavar="WALL_NAME")]
    colours: Annotated[tuple[Colour, ...], Several] = Field(default=(Colour.RED,), description="Colours to mix.")
    coats: Annotated[int | None, Field(ge=1), Field(description="Coats (default: as many as it takes).")] = None
    wet: bool = Field(default=False, description="Do not wait.")
    primer: bool = Field(default=True, description="Prime it first.")
    output: Annotated[Path | None, Field(description="Where to."), Flag(short="-o")] = None


def run(*arguments: str) -> tuple[int, str, dict[str, Any]]:
    given: dict[str, Any] = {}
    app = typer.Typer()
    app.command()(command_of(PaintRequest, given.update, switches={"prefect": "Elsewhere."}))
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "TERM": "dumb"})
    return result.exit_code, result.output, given


def test_what_is_not_given_is_left_to_the_request():
    assert run("north")[2] == {"wall": "north"}
    code, _, given = run("north", "--colours", "red, dark-blue", "--coats", "2", "--wet", "--no-primer", "-o", "x")
    assert code == 0
    assert given == {
        "wall": "north",
        "colours": "red, dark-blue",
        "coats": 2,
        "wet": True,
        "primer": False,
        "output": Path("x"),
    }
    request = PaintRequest.asked(**given)
    assert request.colours == (Colour.RED, Colour.DARK_BLUE)
    assert (request.coats, request.primer, request.strength) == (2, False, 0.5)


def test_a_switch_of_the_command_is_no_field():
    assert run("north", "--prefect")[2] == {"wall": "north", "prefect": True}


def test_help_says_what_the_fields_say():
    _, out, _ = run("--help")
    flat = " ".join(out.replace("│", " ").split())
    assert "Paint a wall." in flat
    assert "WALL_NAME" in flat
    assert "Colours to mix. Some of red, dark-blue (default: red)." in flat
    assert "Coats (default: as many as it takes)." in flat
    assert "How much (default: 0.5)." in flat
    assert "--json " in flat
    assert "--primer --no-primer" in flat
    assert "--no-wet" not in flat  # what is off has no name to switch it off by
    assert "Prime it first (default: yes)." in flat


def test_a_wrong_kind_of_value_ends_with_2():
    assert run("north", "--coats", "many")[0] == 2
    assert run()[0] == 2


def test_the_form_has_the_requests_own_fields_first():
    schema = PaintRequest.model_json_schema()
    own = ["wall", "colours", "coats", "wet", "primer", "output"]
    assert list(schema["properties"]) == [*own, "strength", "json_path"]
    assert list(PaintRequest.ordered_fields()) == list(schema["properties"])
    assert schema["properties"]["strength"]["description"] == "How much."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"wall": "n", "strength": 3}, "expected strength to be less than or equal to 1, got 3: change strength"),
        ({"wall": "n", "json_path": 5}, "json"),
        ({"wall": "n", "colours": "green"}, "'green'"),
        ({"wall": "n", "window": 1}, "window"),
    ],
)
def test_a_refused_value_is_one_sentence(values: dict[str, Any], words: str):
    with pytest.raises(ConfigError) as refused:
        PaintRequest.asked(**values)
    assert words in str(refused.value)
