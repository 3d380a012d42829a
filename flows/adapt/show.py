"""What the command says of an adaptation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.terminal.console import out

if TYPE_CHECKING:  # at run time the results come from the jobs, which the command imports by name
    pass


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
