"""What the commands say of an adaptation, and of those to all new lines."""

from __future__ import annotations

from rich.markup import escape

from deploy.bundles.facts import all_facts
from flows.adapt.job import AdaptResult
from flows.adapt.new_lines import NewLinesResult
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.terminal.console import err, out


def show(_request: AdaptRequest, result: AdaptResult) -> int:
    """What was registered, in the few facts that matter at once."""
    manifest = result.bundle.manifest
    state = "live" if result.live else "registered, not live"
    cost = f"{result.seconds:.1f} s with at most {result.peak_mib:,.0f} MiB"
    out().print(escape(f"{manifest.line} {manifest.version}: {state}, adapted in {cost}"))
    for fact in all_facts(manifest):
        if fact.brief:
            out().print(escape(f"  {fact.name}: {fact.value}"))
    return 0


def show_new_lines(_request: AdaptNewLinesRequest, result: NewLinesResult) -> int:
    """What became of each new line; 1 where one could not be adapted to."""
    if not result.lines:
        out().print(f"Every line in {escape(str(result.incoming))} is registered.")
    for line in result.lines:
        if line.problem is None:
            out().print(escape(f"{line.name}: adapted"))
        else:
            err().print(f"[red]{escape(line.name)}: {escape(line.problem)}")
    return int(any(line.problem is not None for line in result.lines))
