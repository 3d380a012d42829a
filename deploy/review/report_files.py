"""Reports of scoring runs in the home, by address: looked up among what lies there, so that none opens another file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse

from deploy.bundles.line_folder import slug
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""A report carries its style and script; its own policy names their hashes and forbids all other."""
_MOST_PARTS = 4  # of a line's page in a plant's report: the run's folder, the pages', the line's, and the file
_KINDS = {".html": "text/html", ".json": "application/json", ".csv": "text/csv"}


def report_pages(home: Path) -> dict[str, Callable[[str], Response]]:
    """What answers for reports, by its place in the web app; `/report` leads to the last one of a line."""
    files = {f"/{kind}/{{address:path}}": partial(_report, home / kind) for kind in ("reports", "plant-reports")}
    return files | {"/report": partial(_last_report, load_settings(home))}


def _last_report(settings: Settings, line: str) -> Response:
    """The way to the last report with a page on a line, its own or the plant's, else to the plant's last one."""
    try:
        of_line = _runs(settings.line_folder("reports", line))
        of_plant = _runs(settings.home / "plant-reports")
        pages = f"report_lines/{slug(line)}"
        told = [*of_line, *(run for run in of_plant if (run / pages).is_dir())]
    except (ConfigError, OSError):  # no line is called so, or no folder can be
        return PlainTextResponse("no line can be called so\n", 404)
    if not (runs := told or of_plant):
        return PlainTextResponse("no report yet: `linewise score` writes one at its end\n", 404)
    below = max(runs, key=lambda run: run.name).relative_to(settings.home) / "report.html"
    return RedirectResponse(f"/{'/'.join(map(quote, below.parts))}", 303)


def _runs(folder: Path) -> list[Path]:
    """The folders of runs that have come to their report; their names are the times at which they began."""
    return [run for run in folder.glob("*") if (run / "report.html").is_file()]


def _report(folder: Path, address: str) -> Response:
    path = _found(folder, address)
    if path is None:
        return PlainTextResponse("no such report\n", 404)
    return FileResponse(path, media_type=_KINDS[path.suffix], headers={"Content-Security-Policy": _POLICY})


def _found(folder: Path, address: str) -> Path | None:
    parts = address.split("/")
    if len(parts) > _MOST_PARTS:
        return None
    for part in parts:
        try:
            folder = next(path for path in folder.iterdir() if path.name == part and not path.is_symlink())
        except (OSError, StopIteration):
            return None
    return folder if folder.suffix in _KINDS and folder.is_file() else None
