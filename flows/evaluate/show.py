"""What the command says of an evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.evaluate.request import EvaluateRequest
from flows.terminal.console import err, out

if TYPE_CHECKING:  # at run time the results come from the jobs, which the command imports by name
    pass


def show_evaluation(request: EvaluateRequest, result: Any, *, write: bool) -> None:
    """The tables of an `EvaluateResult`, what it cost, and the files; `write` them unless the flow did."""
    summary = import_module("flows.evaluate.figures.summary")
    tables = import_module("flows.evaluate.figures.tables")
    outputs = import_module("flows.evaluate.output_files")
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
