"""A command made of a request: its fields are the flags, their descriptions the help, their defaults what is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from flows.asking.request import Request, option_name


@dataclass(frozen=True)
class Flag:
    """How a field is called on the command line, where its name and type do not say it: metadata of the field.

    Args:
        metavar: what an argument is called in the usage line; empty: like its field.
        short: a one-letter name beside the long one, "-o"; empty: none.
    """

    metavar: str = ""
    short: str = ""


def command_of(model: type[Request], run: Callable[[dict[str, Any]], None], *, switches: dict[str, str]) -> Any:
    """A function for typer that calls `run` with the flags that were given.

    Args:
        model: whose fields are the flags.
        run: takes the given flags by field; what was not given is left to the request's own default.
        switches: further flags of the command that are not the request's, off unless given, with their help.
    """

    def call(**flags: Any) -> None:
        run({name: value for name, value in flags.items() if value is not None})

    parameters = [_parameter(name, field) for name, field in model.ordered_fields().items()]
    parameters += [_switch(name, text) for name, text in switches.items()]
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # typer reads it
        sorted(parameters, key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    )
    paragraphs = (model.__doc__ or "").split("\n\n")
    call.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)  # the terminal breaks the lines
    return call


def help_of(field: FieldInfo) -> str:
    """A field's description with what can be chosen and the default, as help and tables show it."""
    text, kind = field.description or "", plain_type(field.annotation)
    several = get_origin(kind) is tuple
    if choices := _choices(plain_type(get_args(kind)[0]) if several else kind):
        text += f" {'Some' if several else 'One'} of {', '.join(map(shown, choices))}."
    if field.is_required() or field.default is None or field.default is False:
        return text
    return f"{text.removesuffix('.')} (default: {shown(field.default)})."


def _choices(kind: Any) -> tuple[Any, ...]:
    """What such a value is chosen from; empty: it is free."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def plain_type(annotation: Any) -> Any:
    """The type behind what may be None and what carries limits."""
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return plain_type(next(part for part in get_args(annotation) if part is not NoneType))
    return annotation


def shown(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(shown(part) for part in value) if isinstance(value, tuple) else str(value)


def is_argument(field: FieldInfo) -> bool:
    """Whether the field is an argument of the command: what has no default. All others are options."""
    return field.is_required()


def flag_names(name: str, field: FieldInfo) -> tuple[str, ...]:
    """What a field is called on the command line: `("LINE",)`, `("--output", "-o")`, `("--maps/--no-maps",)`."""
    flag = next((found for found in field.metadata if isinstance(found, Flag)), Flag())
    if is_argument(field):
        return (flag.metavar or name.upper(),)
    option = option_name(name)  # what is off unless given has no name to switch it off by
    long = f"--{option}/--no-{option}" if field.default is True else f"--{option}"
    return (long, flag.short) if flag.short else (long,)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, names = _typed(field.annotation), flag_names(name, field)
    default: Any = inspect.Parameter.empty
    if is_argument(field):
        argument = typer.Argument(help=help_of(field), metavar=names[0], show_default=False)
        annotation: Any = Annotated[kind, argument]
    else:
        default = None
        option = typer.Option(*names, help=help_of(field), show_default=False)
        annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _switch(name: str, text: str) -> inspect.Parameter:
    option = typer.Option(f"--{name}", help=text, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[bool | None, option]
    )


def _typed(annotation: Any) -> Any:
    """What typer reads from the terminal: paths, numbers and switches as they are, all else as text for pydantic."""
    kind = plain_type(annotation)
    return kind if kind in (int, float, bool, Path) else str
