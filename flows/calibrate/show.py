"""What the command says of a calibration."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.bundles.facts import Section, facts_of
from flows.calibrate.job import CalibrateResult
from flows.calibrate.request import CalibrateRequest
from flows.terminal.console import literal, out


def show(_request: CalibrateRequest, result: CalibrateResult) -> int:
    """What was registered, the threshold before and now, and what either rejects of the images."""
    manifest = result.bundle.manifest
    state = "live" if result.live else "registered, not live"
    out().print(literal(f"{manifest.line} {manifest.version}: {state}, calibrated in {result.seconds:.1f} s"))
    for told in rejected_sentences(result):
        out().print(literal(f"  {told}"))
    for fact in facts_of(manifest)[Section.DECISION]:  # what else it is made of stays
        if fact.brief and fact.key != "reject":  # told with the one before
            out().print(literal(f"  {fact.name}: {fact.value}"))
    return 0


def rejected_sentences(result: CalibrateResult) -> Iterator[str]:
    """The threshold before, and how many of the images of each kind it rejects beside the new one."""
    after = result.bundle.manifest.threshold
    yield f"REJECT from a score of {after.reject:.6g}, before from {result.before.reject:.6g}"
    for kind in result.rejected:
        yield f"Of {kind.images:,} {kind.kind} images {kind.after:,} would be rejected, before {kind.before:,}"
