"""`linewise demo`: the whole way on generated lines, from meta-training to the report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.activities import activity
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.export.request import ExportRequest
from flows.meta_train.request import MetaTrainRequest
from flows.score.request import ScoreRequest
from flows.terminal.activity_commands import run_job
from flows.terminal.console import literal, out, table
from pipeline.errors import StorageError
from pipeline.settings import Device, load_settings

SOURCE_SEEDS = range(4)
NEW_SEED = 105
NEW_LINE = "demo/new-line"
GOOD, DEFECTS = 4, 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo-out"),
    learner: Annotated[LearnerName, typer.Option(help="Learner to meta-train.")] = LearnerName.IN_CONTEXT,
    iterations: Annotated[int, typer.Option(help="Outer steps of meta-training.")] = 60,
) -> None:
    """Meta-train on generated lines, adapt to an unseen one from 4 good and 4 defective images, export, score, report.

    Nothing outside the folder is touched, and nothing is downloaded.
    """
    began = time.monotonic()
    folder = folder.expanduser().absolute()
    elsewhere = {"database_url": None, "feature_cache": None, "template_cache": None}
    settings = load_settings(folder / "home").model_copy(update=elsewhere)

    _say(1, f"Generating {len(SOURCE_SEEDS)} product lines to learn from, and one that is kept unseen")
    support, to_score = _generate(folder)

    _say(2, f"Meta-training {learner.value} on the {len(SOURCE_SEEDS)} lines")
    request = MetaTrainRequest(
        lines=folder / "lines", learner=learner, iterations=iterations, output=folder / "meta-training"
    )
    trained = run_job(activity("meta-train"), request, settings)

    _say(3, f"Adapting to the unseen line from {GOOD} good and {DEFECTS} defective images")
    few = AdaptRequest(line=NEW_LINE, images=support, learner=learner, meta_model=trained.folder)
    adapted = run_job(activity("adapt"), few, settings)
    version = adapted.bundle.manifest.version
    out().print(f"      {adapted.seconds:.1f} s, version {version}, rejects from {adapted.threshold.reject:.3f}")

    _say(4, "Exporting the bundle: ONNX, its threshold, where it comes from")
    pack = ExportRequest(line=NEW_LINE, destination=folder / f"bundle-{version}")
    exported = run_job(activity("export"), pack, settings)
    out().print(f"      {exported.size_bytes / 2**20:.1f} MiB in {literal(str(exported.folder))}")

    _say(5, "Scoring the line's other images with onnxruntime, from the exported bundle")
    score = ScoreRequest(
        line=NEW_LINE,
        images=str(to_score),
        bundle=exported.folder,
        device=Device.CPU,
        report=folder / f"report-{version}.html",
    )
    scored = run_job(activity("score"), score, settings)

    _say(6, f"Results on {scored.summary.counts.found} images that neither step has seen")
    _show(scored, adapted)
    out().print(
        f"\nDone in {time.monotonic() - began:.0f} s. Open the report: [bold]{literal(str(scored.report))}[/bold]"
    )


def _say(step: int, text: str) -> None:
    out().print(f"[bold]\\[{step}/6][/bold] {text}")


def _generate(folder: Path) -> tuple[Path, Path]:
    """Write the lines; return the unseen line's few images to adapt from, and its others to score.

    Raises:
        StorageError: the folder cannot be written.
    """
    from pipeline.product_lines.lines import load_line  # noqa: PLC0415  # `--help` does not wait for it
    from pipeline.synthetic.lines import write_line, write_lines  # noqa: PLC0415

    write_lines(folder / "lines", SOURCE_SEEDS, good=12, test_good=8, defects=16)
    line = load_line(write_line(folder / "unseen", NEW_SEED, good=GOOD, test_good=16, defects=24))
    few = _spread(line.defects, DEFECTS)
    support, to_score = folder / "new-line", folder / "to-score"
    try:
        for target in (support, to_score):
            shutil.rmtree(target, ignore_errors=True)  # an earlier demo's
        for record in line.train_good:
            _copy(record.path, support / "good")
        for record in few:
            _copy(record.path, support / "defect" / record.kind)
            if record.mask_path is not None:
                _copy(record.mask_path, support / "masks" / record.kind)
        for record in (*line.test_good, *line.defects):
            if record not in few:
                _copy(record.path, to_score / record.kind)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"a folder {folder} to write into", reason, "name another with --folder") from error
    return support, to_score


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)


def _spread(records: Sequence[Any], count: int) -> list[Any]:
    """One record of each kind, then the next of each, until there are `count`."""
    by_kind: dict[str, list[Any]] = {}
    for record in records:
        by_kind.setdefault(record.kind, []).append(record)
    turns = sorted(((turn, kind) for kind, of_kind in by_kind.items() for turn in range(len(of_kind))))
    return [by_kind[kind][turn] for turn, kind in turns[:count]]


def _show(scored: Any, adapted: Any) -> None:
    """Quality on the labelled images: the folder's first part of a path is the label."""
    import numpy as np  # noqa: PLC0415

    metrics = import_module("pipeline.metrics")
    rows = [row for row in json.loads(scored.json_path.read_text())["rows"] if row["score"] is not None]
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    defective = np.array([not row["path"].startswith("good/") for row in rows])
    reject = adapted.threshold.reject
    listing = table("The unseen line", "figure", "value", right=("value",))
    listing.add_row("image AUROC", f"{metrics.image_auroc(scores, defective):.3f}")
    listing.add_row("image AP", f"{metrics.image_ap(scores, defective):.3f}")
    listing.add_row("F1-max", f"{metrics.f1_max(scores, defective)[0]:.3f}")
    listing.add_row(
        f"good parts rejected ({(~defective).sum()} images)",
        f"{metrics.false_reject_rate(scores, defective, reject):.1%}",
    )
    listing.add_row(
        f"defects not rejected ({defective.sum()} images)",
        f"{metrics.missed_defect_rate(scores, defective, reject):.1%}",
    )
    listing.add_row("adaptation", f"{adapted.seconds:.1f} s")
    listing.add_row("scoring", f"{scored.summary.images_per_second:.0f} images/s")
    out().print(listing)
