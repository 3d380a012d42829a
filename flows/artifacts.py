"""What a run shows in the Prefect UI: keys, markdown with inline heat maps, tables, one progress bar.

Images go into markdown as `data:` URIs: nothing is served, `file://` links are dead in a browser, and an image
artifact would print the whole URI. They are small on purpose, because an artifact lives in Prefect's database.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext

from flows.jobs.progress import Progress

THUMBNAIL_SIDE = 192
MAX_PICTURES = 12
MAX_KEY = 200

Cell = str | int | float | bool | None


def artifact_key(*parts: str) -> str:
    """A key Prefect accepts: lowercase letters, digits and single dashes. "LINE_A/7" becomes "line-a-7"."""
    joined = "-".join(parts).lower()
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:MAX_KEY] or "linewise"


def plain(text: str) -> str:
    """`text` as literal markdown: names of files and lines are data, never markup."""
    flat = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\`*_{}\[\]()<>#|!~&$])", r"\\\1", flat)


def picture(pixels_HWC: NDArray[np.uint8], alt: str, *, side: int = THUMBNAIL_SIDE) -> str:
    """Markdown for an RGB image, shrunk to at most `side` pixels and inlined as a JPEG."""
    height, width = pixels_HWC.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels_HWC = np.asarray(cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels_HWC), quality=82, colorspace="RGB")
    label = re.sub(r"[^A-Za-z0-9 ._-]", " ", alt)
    return f"![{label}](data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')})"


@dataclass(frozen=True, kw_only=True)
class HeatMapRow:
    """One image in a gallery: RGB pixels (H, W, 3) and its overlay of the same size, with the figures beside them."""

    name: str
    image: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    score: float
    decision: str
    note: str = ""


def heat_map_gallery(rows: Sequence[HeatMapRow]) -> str:
    """A markdown table: name, decision, score, image, heat map. At most `MAX_PICTURES` rows, the first ones."""
    if not rows:
        return "No image to show."
    lines = ["| image | decision | score | as seen | heat map |", "| --- | --- | ---: | --- | --- |"]
    for row in rows[:MAX_PICTURES]:
        name = plain(row.name) + (f"<br>{plain(row.note)}" if row.note else "")
        lines.append(
            f"| {name} | **{plain(row.decision)}** | {row.score:.3f} | {picture(row.image, row.name)} "
            f"| {picture(row.overlay, 'heat map of ' + row.name)} |"
        )
    return "\n".join(lines)


def figures_table(figures: Mapping[str, Cell]) -> str:
    """A two-column markdown table of named figures."""
    rows = [f"| {plain(name)} | {_cell(value)} |" for name, value in figures.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def publish_markdown(key: str, markdown: str, description: str) -> None:
    """Create a markdown artifact on this run; outside a run there is no API to send it to, so nothing happens."""
    if in_a_run():
        create_markdown_artifact(key=key, markdown=markdown, description=description)


def publish_table(key: str, rows: Sequence[Mapping[str, Cell]], description: str) -> None:
    """Create a table artifact on this run; outside a run nothing happens."""
    if in_a_run():
        create_table_artifact(key=key, table=[dict(row) for row in rows], description=description)


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

    def __call__(self, progress: Progress) -> None:
        """Show `progress`; a stage's end is always shown."""
        now = time.monotonic()
        finished = progress.total is not None and progress.done >= progress.total
        if not in_a_run() or (not finished and now - self._last < self._every):
            return
        self._last = now
        percent = 100.0 * progress.done / progress.total if progress.total else 0.0
        text = progress.stage + "".join(f", {name} {value:.4g}" for name, value in progress.figures.items())
        if self._artifact is None:
            created = create_progress_artifact(progress=percent, key=self._key, description=text)
            assert isinstance(created, UUID)  # a coroutine only inside an event loop, and jobs run in a plain thread
            self._artifact = created
        else:
            update_progress_artifact(self._artifact, percent, description=text)
