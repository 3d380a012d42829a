"""What the command says of a line's threshold."""

from __future__ import annotations

from deploy.bundles.facts import Section, facts_of
from flows.terminal.console import literal, out, table
from flows.threshold.effect_rows import COLUMNS, basis, effect_rows
from flows.threshold.job import ThresholdResult
from flows.threshold.request import ThresholdRequest


def show(request: ThresholdRequest, result: ThresholdResult) -> int:
    """The live version's threshold, what it and others would have done, and what was set."""
    manifest = (result.made or result.live).manifest
    state = "live, its threshold set by hand" if result.made else "live"
    out().print(literal(f"{manifest.line} {manifest.version}: {state}"))
    for fact in facts_of(manifest)[Section.DECISION]:
        if fact.brief or fact.key == "review":
            out().print(literal(f"  {fact.name}: {fact.value}"))
    out().print(literal(basis(result)))
    if result.images:
        listing = table("", *COLUMNS, right=COLUMNS[1:])
        for row in effect_rows(result):
            listing.add_row(*map(literal, row))
        out().print(listing)
    if request.reject is not None and result.made is None:
        out().print("Nothing was set: a dry run")
    return 0
