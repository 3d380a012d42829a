"""What the command says of an adaptation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rich.markup import escape

from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.terminal.console import err, out


def show(_request: AdaptRequest, result: Any) -> int:
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
    return 0


def show_new_lines(_request: AdaptNewLinesRequest, result: Any) -> int:
    """What became of each new line (a `NewLinesResult`)."""
    if not result.lines:
        out().print(f"Every line in {escape(str(result.incoming))} is registered.")
    for line in result.lines:
        if line.problem is None:
            out().print(escape(f"{line.name}: adapted"))
        else:
            err().print(f"[red]{escape(line.name)}: {escape(line.problem)}")
    return int(any(line.problem is not None for line in result.lines))
