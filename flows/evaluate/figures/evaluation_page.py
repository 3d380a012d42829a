"""An evaluation for people and for programs: console tables, CSV, JSON, Markdown, and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.bundles.manifest import linewise_version
from deploy.reports.page import write_page
from flows.evaluate.figures.evaluation_rows import METRIC, METRICS
from flows.evaluate.figures.plots import colour_of, differences_plot, lines_plot, settings_plot
from flows.evaluate.figures.summary import Evaluation
from flows.evaluate.figures.tables import (
    FORGOTTEN,
    HEADLINE,
    comparison_cells,
    contrast_rows,
    forgetting_rows,
    line_rows,
    markdown,
    overall_rows,
    pairs_of,
)
from pipeline.storage import replace_file

FORMAT_VERSION = 1
_KEYS = (
    *("data_set", "line", "learner", "good", "defects", "unlabelled", "seed"),
    *("scenario", "condition", "strength", "adaptation", "stage", "arrived"),
)
PLOTTED = ("image_auroc", "pixel_auroc", "aupro")


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write the rows, one adaptation a line; undefined metrics, and keys of other scenarios, are empty.

    Raises:
        StorageError: the file cannot be written.
    """
    buffer = io.StringIO()
    columns = [*_KEYS, *(metric.key for metric in METRICS), "note"]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in _records(evaluation):
        writer.writerow(row)
    replace_file(path, buffer.getvalue().encode("utf-8", "surrogateescape"))


def write_json(path: Path, evaluation: Evaluation, about: Mapping[str, Any] | None = None) -> None:
    """Write rows, overall means and paired differences; undefined figures are null.

    Args:
        path: the file.
        evaluation: what to write.
        about: JSON-ready facts on the run, under the key `about`.

    Raises:
        StorageError: the file cannot be written.
    """
    overall, paired = [], []
    for setting in evaluation.settings:
        place = setting._asdict()
        for metric in evaluation.metrics:
            for learner in evaluation.learners:
                figures = evaluation.overall(metric.key, learner, setting)
                entry = {**place, "learner": learner, "metric": metric.key}
                overall.append({**entry, **{name: _json(value) for name, value in vars(figures).items()}})
            for learner, pair in pairs_of(evaluation, metric.key, setting):
                interval = {name: _json(value) for name, value in pair.interval._asdict().items()}
                counts = {"wins": pair.wins, "ties": pair.ties, "losses": pair.losses, "unpaired": pair.unpaired}
                worst = {"worst_line": pair.worst_line, "worst": _json(pair.worst)}
                entry = {**place, "learner": learner, "baseline": evaluation.baseline, "metric": metric.key}
                paired.append({**entry, **interval, "data_sets": pair.data_sets, **counts, **worst})
    document = {
        "format_version": FORMAT_VERSION,
        "about": dict(about or {}),
        "overall": overall,
        "paired": paired,
        "rows": _records(evaluation),
    }
    replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def write_markdown(path: Path, evaluation: Evaluation, metrics: Sequence[str] | None = None) -> None:
    """Write `markdown(evaluation, metrics)`.

    Raises:
        StorageError: the file cannot be written.
    """
    replace_file(path, markdown(evaluation, metrics).encode("utf-8", "backslashreplace"))


def write_html(
    path: Path,
    evaluation: Evaluation,
    *,
    title: str = "Evaluation",
    about: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
) -> None:
    """Write one self-contained page: means, paired differences and every line, as tables and plots.

    Args:
        path: the HTML file; replaced in one step.
        evaluation: what to show.
        title: the page's heading.
        about: facts on the run (backbone, device, commit...), shown as they are.
        files: names of files beside the page to point at.

    Raises:
        StorageError: the file cannot be written.
    """
    summaries = [settings_plot(evaluation, METRIC[key]) for key in PLOTTED]
    settings = []
    for setting in evaluation.settings:
        plots = [lines_plot(evaluation, METRIC[key], setting) for key in PLOTTED]
        settings.append(
            {
                "label": setting.label,
                "overall": overall_rows(evaluation, setting),
                "comparison": [
                    [learner, *comparison_cells(pair, METRIC[HEADLINE])]
                    for learner, pair in pairs_of(evaluation, HEADLINE, setting)
                ],
                "differences": differences_plot(evaluation, METRIC[HEADLINE], setting),
                "plots": [plot for plot in plots if plot is not None],
                "lines": line_rows(evaluation, METRIC[HEADLINE], setting),
            }
        )
    write_page(
        path,
        "evaluation.html.j2",
        style="page.css evaluation.css",
        script="",
        context={
            "title": title,
            "evaluation": evaluation,
            "about": dict(about or {}),
            "settings": settings,
            "contrasts": contrast_rows(evaluation, HEADLINE),
            "forgetting": forgetting_rows(evaluation, HEADLINE),
            "forgotten": FORGOTTEN,
            "summaries": [plot for plot in summaries if plot is not None],
            "headline": METRIC[HEADLINE],
            "colours": {learner: colour_of(evaluation, learner) for learner in evaluation.learners},
            "files": files,
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M %Z}",
            "version": linewise_version(),
        },
    )


def _records(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "data_set": row.data_set,
            "line": row.line,
            "learner": row.learner,
            "good": row.setting.good,
            "defects": row.setting.defects,
            "unlabelled": row.setting.unlabelled,
            "seed": row.seed,
            "scenario": row.scenario or None,
            "condition": row.setting.condition or None,
            "strength": row.strength or None,
            "adaptation": row.setting.adaptation or None,
            "stage": row.stage or None,
            "arrived": row.arrived or None,
            **{key: _json(value) for key, value in row.values.items()},
            "note": row.note,
        }
        for row in evaluation.rows
    ]


def _json(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value
