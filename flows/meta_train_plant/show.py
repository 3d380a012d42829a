"""What the command says of the plant's own meta-model."""

from __future__ import annotations

from flows.meta_train_plant.held_out_lines import Figures
from flows.meta_train_plant.job import MetaTrainPlantResult
from flows.meta_train_plant.meta_model_gate import in_points
from flows.meta_train_plant.request import MetaTrainPlantRequest
from flows.terminal.console import literal, out, table


def show(_request: MetaTrainPlantRequest, result: MetaTrainPlantResult) -> int:
    """The held-out lines, what was left out, and what became of the candidate; 1 where it is held."""
    for remark in result.remarks:
        out().print(literal(remark))
    for reason, count in result.left_out.items():
        out().print(literal(f"Left out: {count:,} images {reason}."))
    if (comparison := result.comparison) is not None:
        what = "image AUROC / missed defects / false rejects, per cent"
        figures = table(what, "held-out line", comparison.present, "candidate", right=(comparison.present, "candidate"))
        for name, before, after in comparison_rows(result):
            figures.add_row(*map(literal, (name, before, after)))
        out().print(figures)
        out().print(f"Image AUROC: {literal(in_points(comparison.auroc_gain))}")
        out().print(f"Missed defects: {literal(in_points(comparison.more_missed))}")
    out().print(literal(result.sentence))
    return int(bool(result.reasons))


def comparison_rows(result: MetaTrainPlantResult) -> list[tuple[str, str, str]]:
    """Each held-out line with the figures of the present meta-model and of the candidate, per cent."""
    lines = result.comparison.lines if result.comparison is not None else ()
    return [(line.name, _figures(line.present), _figures(line.candidate)) for line in lines]


def _figures(of: Figures) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in (of.image_auroc, of.missed_defects, of.false_rejects))
