"""The page's own files: style, scripts and icon."""

from __future__ import annotations

from importlib.resources import files

from fastapi import Response
from fastapi.responses import PlainTextResponse

_STYLES = (
    ("deploy.reports", "templates/page.css"),
    ("deploy.reports", "templates/histogram.css"),
    ("deploy.review", "static/review.css"),
)
_FILES = {
    "review.css": ("text/css", _STYLES),
    "review.js": ("text/javascript", (("deploy.review", "static/review.js"),)),
    "threshold.js": ("text/javascript", (("deploy.review", "static/threshold.js"),)),
    "icon.svg": ("image/svg+xml", (("deploy.review", "static/icon.svg"),)),
}


def static_file(name: str) -> Response:
    """One of them, by its name."""
    if name not in _FILES:
        return PlainTextResponse("none\n", 404)
    kind, parts = _FILES[name]
    text = "".join((files(package) / path).read_text(encoding="utf-8") for package, path in parts)
    return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})
