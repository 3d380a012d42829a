"""What a run shows in the Prefect UI: keys, markdown with inline heat maps, tables, one progress bar.

Images go into markdown as `data:` URIs: nothing is served, `file://` links are dead in a browser, and an image
artifact would print the whole URI. They are small on purpose, because an artifact lives in Prefect's database.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import httpx
import simplejpeg
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_run_logger

from deploy.reports.gallery import GalleryItem
from deploy.reports.overlay import data_uri, encode_jpeg, shrink
from flows.plant.pages import report_address
from flows.progress import Progress
from pipeline.settings import load_settings
from pipeline.unicode_names import one_line

THUMBNAIL_SIDE = 160
MAX_PICTURES = 12
MAX_KEY = 200
_WIDEST = 48  # characters of a figure in a row; a page of 1,300 pixels shows as many
_AWAY_SECONDS = 60.0  # between two tries: each may take as long as Prefect's client does, and work waits meanwhile

Cell = str | int | float | bool | None


def artifact_key(*parts: str) -> str:
    """A key Prefect accepts: lowercase letters, digits and single dashes. "LINE_A/7" becomes "line-a-7"."""
    joined = "-".join(parts).lower()
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:MAX_KEY] or "linewise"


def plain(text: str) -> str:
    """`text` as literal markdown: names of files and lines are data, never markup."""
    flat = re.sub(r"\s+", " ", one_line(text))
    return re.sub(r"([\\`*_{}\[\]()<>#|!~&$])", r"\\\1", flat)


def picture(encoded: bytes, alt: str, *, side: int = THUMBNAIL_SIDE) -> str:
    """Markdown for a JPEG, shrunk to at most `side` pixels and inlined."""
    pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
    label = re.sub(r"[^A-Za-z0-9 ._-]", " ", alt)
    return f"![{label}]({data_uri(encode_jpeg(shrink(pixels, side), quality=82))})"


def capitalised(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def heat_map_gallery(items: Sequence[GalleryItem], notes: Mapping[str, str] | None = None) -> str:
    """A markdown table of the first `MAX_PICTURES` items: pictures first and names last, which may be long.

    Reasons stand below: the older UI cuts a long row off, and the newer one shrinks its pictures.
    """
    if not items:
        return "No image to show."
    shown = items[:MAX_PICTURES]
    lines = ["| As seen | Heat map | Score | Decision | Image |", "| --- | --- | ---: | --- | --- |"]
    for item in shown:
        note = (notes or {}).get(item.name)
        name = (f"*{plain(note)}* " if note else "") + plain(item.name)
        lines.append(
            f"| {picture(item.image, item.name)} | {picture(item.overlay, 'heat map of ' + item.name)} "
            f"| {item.score:.3f} | **{item.decision.value}** | {name} |"
        )
    reasons = [f"- {plain(item.name)}: {plain(item.reason)}" for item in shown if item.reason]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def figures_table(figures: Mapping[str, Cell]) -> str:
    """A two-column markdown table of named figures, each name with a capital.

    Long words go on in further rows: the older UI cuts off what is wider than the page.
    """
    rows = []
    for name, value in figures.items():
        first, *more = textwrap.wrap(_words(value), _WIDEST, break_long_words=False, break_on_hyphens=False) or [""]
        rows += [(plain(capitalised(name)), plain(first)), *(("", plain(part)) for part in more)]
    return "\n".join(["| Figure | Value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _words(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def whole_report(report: Path) -> str:
    """Where a run's report is, for people who look at the run: a link where the review page serves it."""
    address = report_address(load_settings(), report)
    where = f"{plain(str(report))} (on the worker's machine)."
    return f"The whole report: {where}" if address is None else f"[The whole report]({address}): {where}"


def publish_figures(key: str, figures: Mapping[str, Cell], description: str, more: str = "") -> None:
    """Create a markdown artifact of named figures with `more` below, and say them in the run's log in one line.

    Outside a run nothing happens.
    """
    if in_a_run():
        publish_markdown(key, "\n\n".join(part for part in (figures_table(figures), more) if part), description)
        told = ", ".join(f"{name} {_words(value)}" for name, value in figures.items())
        get_run_logger().info("%s: %s", description, told)


def publish_markdown(key: str, markdown: str, description: str) -> None:
    """Create a markdown artifact on this run; outside a run there is no API to send it to, so nothing happens."""
    if in_a_run():
        create_markdown_artifact(key=key, markdown=markdown, description=description)


def publish_table(key: str, rows: Sequence[Mapping[str, Cell]], description: str) -> None:
    """Create a table artifact on this run; outside a run nothing happens."""
    if in_a_run():
        create_table_artifact(key=key, table=[_as_text(row) for row in rows], description=description)


def _as_text(row: Mapping[str, Cell]) -> dict[str, Cell]:
    return {name: one_line(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def in_a_run() -> bool:
    """Whether this code runs inside a Prefect flow or task run (and not through `.fn`)."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


class ProgressArtifact:
    """One progress bar per run, fed with a job's `Progress`; it calls the API at most once in `every` seconds."""

    def __init__(self, key: str, *, every: float = 2.0) -> None:
        self._key = key
        self._every = every
        self._last = float("-inf")
        self._artifact: UUID | None = None
        self._is_away = False

    def __call__(self, progress: Progress) -> None:
        """Show `progress`; a stage's end is always shown. Where the server is away, the work goes on unseen."""
        now = time.monotonic()
        finished = progress.total is not None and progress.done >= progress.total
        if not in_a_run() or (not finished and now - self._last < self._every):
            return
        self._last = now
        percent = 100.0 * progress.done / progress.total if progress.total else 0.0
        told = [progress.stage, *(f"{name} {value:.4g}" for name, value in progress.figures.items())]
        if progress.total is None:
            told.insert(1, f"{progress.done} done")  # the bar stands at 0 %: there is no whole to take a part of
        text = ", ".join(part for part in (*told, progress.time_left, plain(progress.remark)) if part)
        try:
            self._show(percent, text)
            self._is_away = False
        except httpx.HTTPError as error:
            if not self._is_away:
                get_run_logger().warning("the Prefect server does not answer (%s): the work goes on", error)
            self._is_away, self._last = True, time.monotonic() + _AWAY_SECONDS

    def _show(self, percent: float, text: str) -> None:
        if self._artifact is None:
            created = create_progress_artifact(progress=percent, key=self._key, description=text)
            assert isinstance(created, UUID)  # a coroutine only inside an event loop, and jobs run in a plain thread
            self._artifact = created
        else:
            update_progress_artifact(self._artifact, percent, description=text)
