"""`linewise meta-train`, `adapt` and `evaluate`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from flows.adapt.request import AdaptRequest
from flows.adapt.show import show_adaptation
from flows.asking.learner_names import LearnerName
from flows.evaluate.request import EvaluateRequest, Protocol, Scenario, ShiftName
from flows.evaluate.show import show_evaluation
from flows.meta_train.request import MetaTrainRequest, TrainingDevice
from flows.meta_train.show import show_meta_training
from flows.terminal.console import PrefectOption, build_request, run_job, split_names, through_prefect

LEARNERS = ", ".join(LearnerName)
SCENARIOS = (
    f"{Scenario.FEW_SHOT}: new lines from a few images; {Scenario.DOMAIN_SHIFT}: the camera changes after adaptation; "
    f"{Scenario.INCREMENTAL}: lines arrive one after another; {Scenario.MULTI_TASK}: one theta for all lines against "
    "one a line."
)

BackboneOption = Annotated[str | None, typer.Option(help="Frozen backbone; `linewise backbones` lists them.")]
SizeOption = Annotated[int | None, typer.Option(help="Side of the square the images are resized to, in pixels.")]
SeedOption = Annotated[int | None, typer.Option(help="Equal seeds give equal results on one machine.")]
IterationsOption = Annotated[int | None, typer.Option(help="Outer steps of meta-training.")]
RateOption = Annotated[float | None, typer.Option(help="Share of good parts that may be rejected.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("meta-train")(meta_train)
    app.command("adapt")(adapt)
    app.command("evaluate")(evaluate)


def meta_train(
    lines: Annotated[Path, typer.Argument(help="Folder of product lines, one folder per line.")],
    learner: Annotated[str | None, typer.Option(help=f"One of {LEARNERS}.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder.")] = None,
    validation_lines: Annotated[
        Path | None, typer.Option(help="Lines to report metrics on and to stop early by (default: one held-out line).")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after so many checks (of twenty) without improvement, keep the best; 0: never."),
    ] = None,
    iterations: IterationsOption = None,
    good: Annotated[int | None, typer.Option(help="Good images in an episode's support.")] = None,
    defects: Annotated[int | None, typer.Option(help="Defective images in an episode's support, at most.")] = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    device: Annotated[
        str | None,
        typer.Option(help=f"Of the outer loop: {', '.join(TrainingDevice)} (default: cpu). cuda: one GPU a process."),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Training processes.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
    prefect: PrefectOption = False,
) -> None:
    """Meta-train a learner on many product lines."""
    request = build_request(
        MetaTrainRequest,
        lines=lines,
        learner=learner,
        output=output,
        validation_lines=validation_lines,
        patience=patience,
        iterations=iterations,
        good=good,
        defects=defects,
        backbone=backbone,
        size=size,
        seed=seed,
        device=device,
        processes=processes,
        resume=resume,
    )
    show_meta_training(run_job("meta_train", request, prefect=prefect))


def adapt(
    line: Annotated[str, typer.Argument(help="Name to register the line under.")],
    images: Annotated[Path, typer.Argument(help="Folder with good/ and defect/, or in the MVTec AD layout.")],
    learner: Annotated[str | None, typer.Option(help=f"One of {LEARNERS}.")] = None,
    meta_model: Annotated[Path | None, typer.Option(help="Meta-model folder of a meta-train run.")] = None,
    good: Annotated[int | None, typer.Option(help="Use at most this many good images (default: up to 16).")] = None,
    defects: Annotated[int | None, typer.Option(help="Use at most this many defects (default: up to 16).")] = None,
    any_angle: Annotated[
        bool, typer.Option("--any-angle", help="Parts lie at any angle: rotated good images are good too.")
    ] = False,
    target_false_reject_rate: RateOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    seed: SeedOption = None,
    promote: Annotated[bool, typer.Option(help="Make the new version live.")] = True,
    prefect: PrefectOption = False,
) -> None:
    """Adapt to one line from a few images, and register the result."""
    request = build_request(
        AdaptRequest,
        line=line,
        images=images,
        learner=learner,
        meta_model=meta_model,
        good=good,
        defects=defects,
        any_angle=any_angle,
        target_false_reject_rate=target_false_reject_rate,
        backbone=backbone,
        size=size,
        seed=seed,
        promote=promote,
    )
    show_adaptation(run_job("adapt", request, prefect=prefect))


def evaluate(
    scenario: Annotated[str | None, typer.Option(help=SCENARIOS)] = None,
    lines: Annotated[Path | None, typer.Option(help="Folder of lines, for the leave-one-out protocols.")] = None,
    train_lines: Annotated[Path | None, typer.Option(help="Folder of lines to meta-train on.")] = None,
    test_lines: Annotated[Path | None, typer.Option(help="Folder of lines to test on.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(Protocol)}; train-test when --train-lines is given."),
    ] = None,
    learners: Annotated[str, typer.Option(help=f"Comma-separated, of {LEARNERS}.")] = LearnerName.MEMORY_BANK.value,
    good: Annotated[str | None, typer.Option(help="Numbers of good support images, comma-separated.")] = None,
    defects: Annotated[str, typer.Option(help="Numbers of defective support images, comma-separated.")] = "0,4",
    seeds: Annotated[int | None, typer.Option(help="Seeds to repeat with.")] = None,
    iterations: IterationsOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    target_false_reject_rate: RateOption = None,
    processes: Annotated[int | None, typer.Option(help="Processes that share the folds.")] = None,
    max_test_images: Annotated[int | None, typer.Option(help="Test at most this many images of a line.")] = None,
    synthetic_lines: Annotated[
        int | None, typer.Option(help="Generated lines that join the training lines of every fold.")
    ] = None,
    shifts: Annotated[
        str | None, typer.Option(help=f"domain-shift: what changes, comma-separated, of {', '.join(ShiftName)}.")
    ] = None,
    shift_strength: Annotated[float | None, typer.Option(help="domain-shift: how much, 1 unless told.")] = None,
    arrival_iterations: Annotated[int | None, typer.Option(help="incremental: outer steps after each arrival.")] = None,
    seed: SeedOption = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="JSON file of rows to write.")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="CSV file of rows to write.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="HTML table with plots to write.")] = None,
    prefect: PrefectOption = False,
) -> None:
    """Meta-train on some lines, test on others, and compare learners.

    The source texts claim generative learners (maml_gan) for few-shot and domain-shift, hypernetworks (hypernetwork,
    meta_sgd_hn) for few-shot and incremental, Bayesian ones (bmaml, abml) for domain-shift and incremental.
    """
    split = train_lines is not None or test_lines is not None
    request = build_request(
        EvaluateRequest,
        scenario=scenario,
        lines=lines,
        train_lines=train_lines,
        test_lines=test_lines,
        protocol=protocol or (Protocol.TRAIN_TEST if split else None),
        learners=split_names(learners),
        good=None if good is None else split_names(good),
        defects=split_names(defects),
        seeds=seeds,
        iterations=iterations,
        backbone=backbone,
        size=size,
        target_false_reject_rate=target_false_reject_rate,
        processes=processes,
        max_test_images=max_test_images,
        synthetic_lines=synthetic_lines,
        shifts=None if shifts is None else split_names(shifts),
        shift_strength=shift_strength,
        arrival_iterations=arrival_iterations,
        seed=seed,
        json_path=json_path,
        csv_path=csv_path,
        html_path=html_path,
    )
    outputs = import_module("flows.evaluate.output_files")
    outputs.require_writable(request)
    result = run_job("evaluate", request, prefect=prefect)
    show_evaluation(request, result, write=not through_prefect(prefect))
