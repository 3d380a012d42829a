"""What the commands say of a scoring run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.reports.parts import PartCounts
from flows.score.job import ScoreResult
from flows.score.outputs import RunResult
from flows.score.plant_job import ScorePlantResult
from flows.score.publishing import told_of_delivery
from flows.score.request import ScorePlantRequest, ScoreRequest, ScoringSettings
from flows.terminal.console import err, literal, out, table
from pipeline.calibration import Decision
from pipeline.imaging.images import UnreadableImage

MAX_FLAGGED = 10
MAX_UNREADABLE = 5


def show(request: ScoreRequest, result: ScoreResult, *, as_json: bool = False) -> int:
    """Counts, the worst images, what could not be read, where the report is.

    1 where some files got no decision, or no image is of a part that was asked for.
    """
    parts = result.summary.parts
    without_parts = parts is not None and not parts.fits and result.summary.counts.found > 0
    no_decision = int(bool(result.summary.counts.unreadable or result.pictures_left_out or without_parts))
    unreadable = result.summary.counts.unreadable
    figures = result.figures()
    if as_json:
        outputs = {"report": str(result.report), "json": str(result.json_path), "csv": str(result.csv_path)}
        sys.stdout.write(json.dumps(figures | outputs, indent=2) + "\n")
        _show_unreadable(result.summary.unreadable_files, unreadable)
        _show_without_parts(request, without=without_parts)
        _show_messages(request, result)
        return no_decision
    counts = result.summary.counts.figures()
    listing = table(literal(f"{result.line} {result.version}"), *(name.replace("_", " ") for name in counts))
    listing.add_row(*map(str, counts.values()))
    out().print(listing)
    for image in result.summary.flagged[:MAX_FLAGGED]:
        score = "no score" if image.score is None else f"{image.score:.3f}"
        reason = f": {image.reason}" if image.reason else ""
        out().print(f"  {image.decision} {score:>8}  {literal(f'{image.label}{reason}')}")
    if result.summary.counts.flagged > MAX_FLAGGED:
        out().print(f"  and {result.summary.counts.flagged - MAX_FLAGGED} more: see the report")
    if parts is not None:
        _show_parts(parts.counts)
        _show_without_parts(request, without=without_parts)
        flagged_parts = [part for part in parts.worst if part.decision is not Decision.PASS]
        for part in flagged_parts[:MAX_FLAGGED]:
            reason = f": {part.reason}" if part.reason else ""
            out().print(f"  {part.decision} {literal(f'{part.part}, worst view {part.worst_view}{reason}')}")
    _show_unreadable(result.summary.unreadable_files, unreadable)
    out().print(f"{_pace(figures)}, {literal(result.device)}")
    out().print(f"Report: {literal(str(result.report))}")
    _show_messages(request, result)
    return no_decision


def _pace(figures: Mapping[str, Any]) -> str:
    """Images a second; where none was scored in this run, why."""
    if figures["images"] > figures["unreadable"] + figures["scored_before"]:
        return f"{figures['images_per_second']} images/s"
    before = figures["scored_before"]
    if not before:
        return "no image was scored"
    return f"nothing new: {before} {'image was' if before == 1 else 'images were'} scored before"


def _show_parts(counts: PartCounts) -> None:
    """How many parts of several views came to what."""
    decisions = ", ".join(f"{counts.decisions[decision]} {decision}" for decision in reversed(Decision))
    missing = f"; {counts.incomplete} without all views" if counts.incomplete else ""
    out().print(f"{counts.found} parts: {decisions}{missing}")


def _show_without_parts(request: ScoringSettings, *, without: bool) -> None:
    """That the rule is of other names: each image was told by itself, and whoever waits for parts waits in vain."""
    if without:
        views = ",".join(request.views) if request.views else ""
        got = literal(f"{request.parts} with {views}, which fits none of them")
        err().print(f"[yellow]expected a rule that fits the images' paths, got {got}: correct --parts or --views")


def _show_unreadable(files: Sequence[UnreadableImage], count: int) -> None:
    """Name the first of `count` files that no decision was made on."""
    for file in files[:MAX_UNREADABLE]:
        err().print(f"[yellow]no decision on {literal(str(file.path))}: {literal(file.reason)}")
    if count > MAX_UNREADABLE:
        more = count - MAX_UNREADABLE
        err().print(f"[yellow]and {more} more {'file' if more == 1 else 'files'} without a decision")


def _show_messages(request: ScoringSettings, result: RunResult) -> None:
    """What is still to be delivered, or never will be."""
    for sentence in told_of_delivery(request.publish, result.messages):
        err().print(f"[yellow]{literal(sentence)}")


def show_plant(request: ScorePlantRequest, result: ScorePlantResult, *, as_json: bool = False) -> int:
    """A row for each line, what was skipped, and bundles that could not be used.

    1 where some files got no decision, be it that no line could be used for them, or a promoted bundle could not be
    used; or where no image of any line is of a part that was asked for.
    """
    figures = result.figures()
    if as_json:
        outputs = {"json": str(result.json_path), "csv": str(result.csv_path)}
        sys.stdout.write(json.dumps(figures | outputs, indent=2) + "\n")
    else:
        counts = result.summary.counts.figures()
        names = [name.replace("_", " ") for name in counts]
        listing = table("Plant", "line", "version", *names, right=tuple(names))
        for row in figures["lines"]:
            listing.add_row(literal(row["line"]), literal(row["version"]), *(str(row[name]) for name in counts))
        out().print(listing)
        if result.summary.parts is not None:
            _show_parts(result.summary.parts)
        out().print(f"{_pace(figures)}, {literal(figures['device'])}")
        out().print(f"Report: {literal(figures['report'])}")
    unreadable = [file for line in result.summary.lines for file in line.tally.unreadable]
    _show_unreadable(unreadable, figures["unreadable"])
    _show_without_parts(request, without=not result.summary.parts_fit)
    _show_messages(request, result)
    skipped, sentences = figures["skipped_images"], figures["skipped_folders"]
    for sentence in sentences[:MAX_FLAGGED]:
        err().print(f"[yellow]{literal(sentence)}")
    if len(sentences) > MAX_FLAGGED:
        err().print(f"[yellow]and {len(sentences) - MAX_FLAGGED} more: see the report")
    if skipped:
        err().print(f"[yellow]no decision on {skipped} {'image' if skipped == 1 else 'images'} without a usable line")
    for sentence in figures["problems"]:
        err().print(f"[red]{literal(sentence)}")
    missing = any(figures[name] for name in ("unreadable", "skipped_images", "problems", "pictures_left_out"))
    return int(missing or not result.summary.parts_fit)
