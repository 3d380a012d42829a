"""What a gate shows and tells in the Prefect UI: a table, its reasons, pictures of what changes, and the run's end."""

from __future__ import annotations

from typing import TypeVar

from prefect.context import FlowRunContext
from prefect.states import Completed

from deploy.bundles.registry import Registry
from flows.adapt.preview import preview_files
from flows.gate.job import GateResult, VersionComparison
from flows.server.artifacts import artifact_key, capitalised, heat_map_gallery, in_a_run, plain, publish_markdown
from flows.server.line_events import LineEvent, tell_of_line
from pipeline.errors import LinewiseError
from pipeline.settings import Settings

HELD = "Held"
"""Name of the state in which a run ends whose candidate is not promoted: it did all it was asked for."""
_PICTURED = 6  # images decided otherwise, by either version

R = TypeVar("R")


def show_gate(result: GateResult, settings: Settings) -> None:
    """Publish the comparison, and tell whoever listens what became of the candidate."""
    if not in_a_run():
        return
    comparison = result.comparison
    parts = [f"**{plain(capitalised(result.sentence))}**", _checks(comparison), *_changed(comparison, settings)]
    description = f"Gate of {comparison.line} {comparison.candidate}"
    publish_markdown(artifact_key("gate", comparison.line), "\n\n".join(parts), description)
    event = LineEvent.HELD if result.reasons else LineEvent.PROMOTED if result.live else None
    if event is not None:
        tell_of_line(event, comparison.line, version=comparison.candidate, why="; ".join(result.reasons))


def ended(result: R, gate: GateResult | None) -> R:
    """What a flow returns: its result; behind a gate that holds, the run's list shows so, and why."""
    if gate is None or not gate.reasons or FlowRunContext.get() is None:
        return result
    return Completed(name=HELD, message=gate.sentence, data=result)  # type: ignore[return-value]  # Prefect takes a state as the result


def _checks(comparison: VersionComparison) -> str:
    """What was compared, whether it held the candidate, and both sides' figures; why stands in the sentence above."""
    versions = f"Live: {plain(comparison.live or 'none')}, candidate: {plain(comparison.candidate)}"
    rows = [versions, "", "| What was compared | | Live | Candidate |", "| --- | --- | ---: | ---: |"]
    for check in comparison.checks:
        cells = (plain(check.live), plain(check.candidate))
        passed = "**held**" if check.problem else "passed"
        rows.append(f"| {plain(capitalised(check.what))} | {passed} | {' | '.join(cells)} |")
    left_out = [f"- {count:,} images {plain(reason)}" for reason, count in comparison.left_out.items()]
    return "\n".join([*rows, *(["", "Not compared on:", "", *left_out] if left_out else [])])


def _changed(comparison: VersionComparison, settings: Settings) -> list[str]:
    """Pictures of the images that the versions decide otherwise, as either sees them."""
    changed, live = comparison.changed, comparison.live
    if not changed or live is None:
        return []
    parts = [f"## Decided otherwise\n\n{len(changed):,} of {len(comparison.pairs):,} images."]
    chosen = changed[:: max(1, len(changed) // _PICTURED)][:_PICTURED]
    named = {pair.image.name: pair.image.path for pair in chosen}
    notes = {pair.image.name: f"{pair.image.kind.value}:" for pair in chosen}
    for title, version in ((f"Live: {live}", live), (f"Candidate: {comparison.candidate}", comparison.candidate)):
        try:
            items = preview_files(Registry(settings.home).deployment(comparison.line, version), named)
        except LinewiseError as error:  # the gate has said its word; a picture is not worth the run
            parts.append(f"### {plain(title)}\n\n{plain(str(error))}")
        else:
            parts.append(f"### {plain(title)}\n\n{heat_map_gallery(items, notes)}")
    return parts
