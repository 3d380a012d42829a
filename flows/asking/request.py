"""What a job is asked to do: the base of every request, a frozen pydantic model.

A request's fields speak for everything that asks: the command's flags and their help (`flags`), Prefect's form, the run
folder's config, README's option tables. So a parameter is one field, with its limits and its sentence. Torch-free: the
command reads requests before any heavy import.
"""

from __future__ import annotations

import inspect
import os.path
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue

from pipeline.errors import ConfigError


class Request(BaseModel):
    """Base of every request: frozen, and an unknown field is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)

    @field_validator("*")
    @classmethod
    def _home_of_who_runs_it(cls, value: Any) -> Any:
        """`~` in a path, also where no shell has seen it: in a form, and behind `--maps=`."""
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value  # noqa: PTH111  # lets ~nobody be

    def paths(self) -> dict[str, Path]:
        """What the request names on a disk, by field."""
        return {name: value for name, value in self if isinstance(value, Path)}

    def absolute(self) -> Self:
        """The same request for whoever runs it: relative paths are taken from this process's folder."""
        return self.model_copy(
            update={name: type(getattr(self, name))(path.absolute()) for name, path in self.paths().items()}
        )

    def refuse_relative_paths(self) -> None:
        """See that the request means the same on a worker, whose folder nobody knows who fills in a form.

        Raises:
            ConfigError: a path is relative.
        """
        for name, path in self.paths().items():
            if not path.is_absolute():
                remedy = "begin it with /, or with ~/ for the home of the worker's user"
                raise ConfigError(f"an absolute path for {option_name(name)}", repr(str(path)), remedy)

    @classmethod
    def ordered_fields(cls) -> dict[str, FieldInfo]:
        """The fields as people meet them: a request's own before those that it shares with others."""
        owners = [inspect.get_annotations(owner) for owner in cls.__mro__]
        order = [name for names in owners for name in names if name in cls.model_fields]
        return {name: cls.model_fields[name] for name in dict.fromkeys(order)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with its properties in that order, a form's fields, each with a title.

        Pydantic leaves that to the type where it has a name, as enumerations have, and Prefect's newer UI does not look
        there.
        """
        schema = handler.resolve_ref_schema(handler(core_schema))
        found = schema.get("properties", {})
        schema["properties"] = {
            name: {"title": name.replace("_", " ").title(), **found[name]}
            for name in cls.ordered_fields()
            if name in found
        }
        return schema

    @classmethod
    def asked(cls, **values: Any) -> Self:
        """The request of these values.

        Raises:
            ConfigError: the first value that the request refuses, in one sentence.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "request"
            option = option_name(name)
            if first["type"] == "extra_forbidden":
                raise ConfigError("an option that --help lists", option, "correct the name") from error
            raise ConfigError(f"{option} to {_rule(first['msg'])}", repr(first["input"]), f"change {option}") from error


def _rule(said: str) -> str:
    """What pydantic says of a refused value as what should be: "be greater than 0", "have at least 1 item"."""
    _, _, rule = said.partition(" should ")
    return rule.partition(" after validation")[0] or f"be {said.removeprefix('Value error, ')}"


def option_name(field: str) -> str:
    """What a field is called on the command line, without its dashes: `json_path` is `json`."""
    return field.removesuffix("_path").replace("_", "-")
