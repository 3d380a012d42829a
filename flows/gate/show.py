"""What the command says of a gate, and of two versions side by side."""

from __future__ import annotations

from typing import Any

from flows.gate.job import GateResult, VersionComparison
from flows.gate.request import GateRequest
from flows.terminal.console import literal, out, table

_NAMED = 10  # images decided otherwise that are named


def show(_request: GateRequest, result: GateResult) -> int:
    """The figures and what became of the candidate; 1 where it is held."""
    show_comparison(result.comparison)
    out().print(literal(result.sentence))
    return int(bool(result.reasons))


def show_comparison(comparison: VersionComparison) -> None:
    """A table of the checks, and the images that the versions decide otherwise."""
    other = comparison.live or "none live"
    figures = table(comparison.line, "", other, comparison.candidate, right=(other, comparison.candidate))
    for check in comparison.checks:
        figures.add_row(*map(literal, (check.what, check.live, check.candidate)))
    out().print(figures)
    for reason, count in comparison.left_out.items():
        out().print(literal(f"Not compared on: {count:,} images {reason}."))
    changed = comparison.changed
    if changed:
        out().print(literal(f"Decided otherwise: {len(changed):,} of {len(comparison.pairs):,} images"))
    for pair in changed[:_NAMED]:
        assert pair.live is not None
        decisions = f"{pair.live.decision.value}, now {pair.candidate.decision.value}"
        out().print(literal(f"  {pair.image.name} ({pair.image.kind.value}): {decisions}"))
    if len(changed) > _NAMED:
        out().print(literal(f"  and {len(changed) - _NAMED:,} more"))


def comparison_figures(comparison: VersionComparison) -> dict[str, Any]:
    """The same for programs."""
    return {
        "line": comparison.line,
        "candidate": comparison.candidate,
        "other": comparison.live,
        "checks": [
            {"what": check.what, "other": check.live, "candidate": check.candidate, "problem": check.problem}
            for check in comparison.checks
        ],
        "images": len(comparison.pairs),
        "changed": [
            {
                "image": str(pair.image.path),
                "kind": pair.image.kind.value,
                "other": pair.live.decision.value,
                "candidate": pair.candidate.decision.value,
            }
            for pair in comparison.changed
            if pair.live is not None
        ],
        "left_out": comparison.left_out,
    }
