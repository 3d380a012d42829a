"""What the command says of an evaluation."""

from __future__ import annotations

import sys

from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.figures.tables import comparison_table, contrast_tables, forgetting_table, overall_table
from flows.evaluate.job import EvaluateResult
from flows.evaluate.output_files import rows_as_json
from flows.evaluate.request import EvaluateRequest
from flows.terminal.console import err, literal, out


def show(request: EvaluateRequest, result: EvaluateResult, *, as_json: bool = False) -> int:
    """The tables, what the evaluation cost, and the files; as JSON the rows alone."""
    evaluation, console = Evaluation(result.rows), out()
    for note in evaluation.notes:
        err().print(f"[yellow]{literal(f'{note.line}: {note.text}')}")
    if as_json:
        sys.stdout.write(rows_as_json(result.rows).decode())
        return 0
    console.print(overall_table(evaluation, console.width))
    if evaluation.baseline in evaluation.learners and len(evaluation.learners) > 1:
        console.print(comparison_table(evaluation, console.width))
    for table in (*contrast_tables(evaluation, console.width), forgetting_table(evaluation)):
        if table.row_count:
            console.print(table)
    cost = f"{result.seconds / 60:.1f} minutes, peak memory {result.peak_mib:.0f} MiB"
    console.print(f"{len(result.rows)} rows in {cost}")
    for path in (request.json_path, request.csv_path, request.html_path):
        if path is not None:
            console.print(f"Written: {literal(str(path))}")
    return 0
