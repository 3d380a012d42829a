"""What the commands say of an adaptation, and of those to all new lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.bundles.facts import all_facts
from flows.adapt.job import AdaptResult
from flows.adapt.new_lines import NewLinesResult
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.gate.show import show_comparison
from flows.taken_up import TakeUpReport
from flows.terminal.console import err, literal, out

_LEFT_OUT = 5  # unlabelled images that are named


def show(request: AdaptRequest, result: AdaptResult) -> int:
    """What was registered, in the few facts that matter at once, and which unlabelled images to look at.

    1 where the gate holds it.
    """
    manifest = result.bundle.manifest
    state = "live" if result.live else "registered, not live"
    cost = f"{result.seconds:.1f} s with at most {result.peak_mib:,.0f} MiB"
    out().print(literal(f"{manifest.line} {manifest.version}: {state}, adapted in {cost}"))
    for fact in all_facts(manifest):
        if fact.brief:
            out().print(literal(f"  {fact.name}: {fact.value}"))
    if result.taken_up is not None and result.taken_up.left_out:
        for told in _left_out(request.unlabelled, result.taken_up):
            out().print(literal(f"  {told}"))
    if result.gate is None:
        return 0
    show_comparison(result.gate.comparison)
    out().print(literal(result.gate.sentence))
    return int(bool(result.gate.reasons))


def _left_out(folder: Path | None, report: TakeUpReport) -> Iterator[str]:
    images = report.left_out
    yield f"Unlabelled images left out: {len(images):,}, as {report.reason}"
    for image in images[:_LEFT_OUT]:
        yield f"  {report.named(image, folder)}: {image.score:.4g}"
    if len(images) > _LEFT_OUT:
        yield f"  and {len(images) - _LEFT_OUT:,} more"


def show_new_lines(_request: AdaptNewLinesRequest, result: NewLinesResult) -> int:
    """What became of each new line; 1 where one could not be adapted to."""
    if not result.lines:
        out().print(f"Every line in {literal(str(result.incoming))} is registered.")
    for line in result.lines:
        if line.problem is None:
            out().print(literal(f"{line.name}: adapted"))
        else:
            err().print(f"[red]{literal(line.name)}: {literal(line.problem)}")
    return int(any(line.problem is not None for line in result.lines))
