"""Self-contained HTML pages: one file that opens from a disk, loads nothing, and runs only the script it came with."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.storage import replace_file
from pipeline.unicode_names import one_line

_MISSING = "–"


def write_page(path: Path, template: str, *, style: str, script: str, context: dict[str, Any]) -> None:
    """Render a template of `templates` into one HTML file, replaced in one step.

    Style and script go inline; the page's content security policy names their hashes and forbids everything else but
    `data:` images, so text from outside could not run or load anything even if it escaped escaping.

    Args:
        path: the HTML file; its folder exists.
        template: extends `page.html.j2`.
        style: file names of style sheets, separated by spaces, in order.
        script: likewise of scripts; may be empty.
        context: what the template shows.

    Raises:
        StorageError: the file cannot be written.
    """
    environment = template_environment("deploy.reports")
    sheet, code = (_joined(environment, names) for names in (style, script))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(sheet)}'; "
        f"script-src {_quoted_hash(code)}; base-uri 'none'; form-action 'none'"
    )
    html = environment.get_template(template).render(style=Markup(sheet), script=Markup(code), policy=policy, **context)  # noqa: S704 - our own files
    replace_file(path, html.encode("utf-8", "backslashreplace"))


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; a dash for none and nan."""
    if value is None or math.isnan(value):
        return _MISSING
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share 0..1 as per cent; a dash for none and nan."""
    return _MISSING if value is None or math.isnan(value) else f"{value:.{digits}%}"


def duration(seconds: float) -> str:
    """A time as people say it: "0.8 s", "42 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def template_environment(*packages: str) -> Environment:
    """Jinja for the templates of packages, a template from the first that has it.

    Text from outside is escaped and on one line, a missing name is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_on_one_line,
    )
    environment.filters.update(number=number, percent=percent)
    return environment


def _on_one_line(value: object) -> object:
    """Text and paths; of `Markup` line ends are a part."""
    return one_line(str(value)) if type(value) is str or isinstance(value, Path) else value


def _joined(environment: Environment, names: str) -> str:
    assert environment.loader is not None
    return "\n".join(environment.loader.get_source(environment, name)[0] for name in names.split())


def _source_hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")


def _quoted_hash(source: str) -> str:
    return f"'{_source_hash(source)}'" if source else "'none'"
