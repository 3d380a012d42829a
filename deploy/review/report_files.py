"""Reports of scoring runs in the home, by address: looked up among what lies there, so that none opens another file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse

from pipeline.settings import Settings, load_settings

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""A report carries its style and script; its own policy names their hashes and forbids all other."""
_MOST_PARTS = 3  # a line's folder, a run's, and its file; a plant's has no line's
_KINDS = {".html": "text/html", ".json": "application/json", ".csv": "text/csv"}


def report_pages(home: Path) -> dict[str, Callable[[str], Response]]:
    """What answers for reports, by its place in the web app; `/report` leads to the last one of a line."""
    files = {f"/{kind}/{{address:path}}": partial(_report, home / kind) for kind in ("reports", "plant-reports")}
    return files | {"/report": partial(_last_report, load_settings(home))}


def _last_report(settings: Settings, line: str) -> Response:
    """The way to a line's last report, or to the plant's where the line has none of its own."""
    for folder in (settings.line_folder("reports", line), settings.home / "plant-reports"):
        runs = sorted(path.name for path in folder.glob("*") if (path / "report.html").is_file())  # by their times
        if runs:
            below = (*folder.relative_to(settings.home).parts, runs[-1], "report.html")
            return RedirectResponse(f"/{'/'.join(map(quote, below))}", 303)
    return PlainTextResponse("no report yet: `linewise score` writes one at its end\n", 404)


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
