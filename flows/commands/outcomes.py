"""What the commands say when a job is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.commands.console import err, out, table
from flows.jobs.requests import EvaluateRequest

if TYPE_CHECKING:  # at run time the results come from the jobs, which the command imports by name
    from flows.jobs.export import ExportResult
    from flows.jobs.score import ScoreResult
    from flows.jobs.score_plant import ScorePlantResult
    from pipeline.imaging.images import UnreadableImage

MAX_FLAGGED = 10
MAX_UNREADABLE = 5


def show_export(result: ExportResult) -> None:
    """One line: what is where."""
    size = result.size_bytes / 2**20
    out().print(
        f"{escape(result.line)} {escape(result.version)} ({result.learner}): {result.files} files, {size:.1f} MiB "
        f"in {escape(str(result.folder))}"
    )
    if result.int8 is not None:
        out().print(escape(f"  int8: {result.int8.figures}"))
        out().print(f"  {result.speedup:.2f} times as fast as float32 here (one thread, decoding left out)")


def show_scoring(result: ScoreResult, *, as_json: bool) -> None:
    """Counts, the worst images, what could not be read, where the report is."""
    figures = result.figures()
    if as_json:
        outputs = {"report": str(result.report), "json": str(result.json_path), "csv": str(result.csv_path)}
        sys.stdout.write(json.dumps(figures | outputs, indent=2) + "\n")
        _show_unreadable(result.summary.unreadable_files, result.summary.unreadable)
        return
    counts = ("images", "pass", "review", "reject", "unreadable", "scored_before")
    listing = table(escape(f"{result.line} {result.version}"), *(name.replace("_", " ") for name in counts))
    listing.add_row(*(str(figures[name]) for name in counts))
    out().print(listing)
    for image in result.summary.flagged[:MAX_FLAGGED]:
        score = "no score" if image.score is None else f"{image.score:.3f}"
        out().print(f"  {image.decision} {score:>8}  {escape(image.label)}")
    if result.summary.flagged_count > MAX_FLAGGED:
        out().print(f"  and {result.summary.flagged_count - MAX_FLAGGED} more: see the report")
    _show_unreadable(result.summary.unreadable_files, result.summary.unreadable)
    out().print(f"{_pace(figures)}, {escape(result.device)}")
    out().print(f"Report: {escape(str(result.report))}")


def _pace(figures: Mapping[str, Any]) -> str:
    """Images a second; where none was scored in this run, why."""
    if figures["images"] > figures["unreadable"] + figures["scored_before"]:
        return f"{figures['images_per_second']} images/s"
    before = figures["scored_before"]
    return f"nothing new: {before} images were scored before" if before else "no image was scored"


def _show_unreadable(files: Sequence[UnreadableImage], count: int) -> None:
    """Name the first of `count` files that no decision was made on."""
    for file in files[:MAX_UNREADABLE]:
        err().print(f"[yellow]no decision on {escape(str(file.path))}: {escape(file.reason)}")
    if count > MAX_UNREADABLE:
        err().print(f"[yellow]and {count - MAX_UNREADABLE} more files that cannot be read")


def show_plant(result: ScorePlantResult, *, as_json: bool) -> None:
    """A row for each line, what was skipped, and bundles that could not be used."""
    figures = result.figures()
    if as_json:
        outputs = {"json": str(result.json_path), "csv": str(result.csv_path)}
        sys.stdout.write(json.dumps(figures | outputs, indent=2) + "\n")
    else:
        counts = ("images", "pass", "review", "reject", "unreadable", "scored_before")
        names = [name.replace("_", " ") for name in counts]
        listing = table("Plant", "line", "version", *names, right=tuple(names))
        for row in figures["lines"]:
            listing.add_row(escape(row["line"]), escape(row["version"]), *(str(row[name]) for name in counts))
        out().print(listing)
        out().print(f"{_pace(figures)}, {escape(figures['device'])}")
        out().print(f"Report: {escape(figures['report'])}")
    unreadable = [file for line in result.summary.lines for file in line.tally.unreadable]
    _show_unreadable(unreadable, figures["unreadable"])
    for sentence in figures["skipped_folders"][:MAX_FLAGGED]:
        err().print(f"[yellow]{escape(sentence)}")
    if figures["skipped_folders"]:
        err().print(f"[yellow]{figures['skipped_images']} images in {len(figures['skipped_folders'])} folders skipped")
    for sentence in figures["problems"]:
        err().print(f"[red]{escape(sentence)}")


def show_meta_training(result: Any) -> None:
    """What was learned (a `MetaTrainResult`), and where it is."""
    model = result.model
    loss = "" if model.final_loss is None else f", final loss {model.final_loss:.4f}"
    cost = f"{result.seconds:.0f} s on {model.trained_on}"
    out().print(escape(f"{model.identifier}: {len(model.lines)} lines, {cost}{loss}"))
    for name, value in result.held_out.items():
        out().print(escape(f"  {name.replace('_', ' ')}: {value:.3f}"))
    out().print(f"Meta-model: {escape(str(result.folder))}")


def show_adaptation(result: Any) -> None:
    """What was registered (an `AdaptResult`), and at which threshold it rejects."""
    manifest, threshold = result.bundle.manifest, result.threshold
    state = "live" if result.live else "registered, not live"
    out().print(
        escape(
            f"{manifest.line} {manifest.version}: {state}; {manifest.learner.name} from {result.good} good and "
            f"{result.defects} defective images in {result.seconds:.1f} s"
        )
    )
    evidence_text = import_module("deploy.bundles.card").evidence_text
    for choice in manifest.choices:
        out().print(escape(f"  {choice.what}: {evidence_text(choice)}"))
    out().print(
        escape(
            f"  rejects from a score of {threshold.reject:.3f}, for {threshold.target_false_reject_rate:.2%} of good "
            f"parts ({threshold.method}, {threshold.sample_count} scores)"
        )
    )
    out().print(
        escape(f"  ONNX and torch agree to {result.parity.max_score_error:.1g} on {result.parity.images} images")
    )


def show_evaluation(request: EvaluateRequest, result: Any, *, write: bool) -> None:
    """The tables of an `EvaluateResult`, what it cost, and the files; `write` them unless the flow did."""
    summary = import_module("flows.evaluation.summary")
    tables = import_module("flows.evaluation.tables")
    outputs = import_module("flows.evaluation.outputs")
    evaluation = summary.Evaluation(result.rows)
    console = out()
    console.print(tables.overall_table(evaluation, console.width))
    if evaluation.baseline in evaluation.learners and len(evaluation.learners) > 1:
        console.print(tables.comparison_table(evaluation, console.width))
    for scenario_table in (*tables.contrast_tables(evaluation, console.width), tables.forgetting_table(evaluation)):
        if scenario_table.row_count:
            console.print(scenario_table)
    for note in evaluation.notes:
        err().print(f"[yellow]{escape(f'{note.line}: {note.text}')}")
    out().print(f"{len(result.rows)} rows in {result.seconds / 60:.1f} minutes, peak memory {result.peak_mib:.0f} MiB")
    if write:
        outputs.write_outputs(request, evaluation, result.rows)
    for path in (request.json_path, request.csv_path, request.html_path):
        if path is not None:
            out().print(f"Written: {escape(str(path))}")
