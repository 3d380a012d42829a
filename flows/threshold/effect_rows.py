"""What thresholds would have done, as rows of a table: the terminal's and the Prefect UI's."""

from __future__ import annotations

from collections.abc import Iterator

from flows.threshold.job import ThresholdResult

COLUMNS = ("rejects", "REJECT from", "REVIEW from", "rejected", "reviewed", "good rejected", "defects passed")
"""Names of the cells: which threshold it is, its two scores, and what it would have done."""


def effect_rows(result: ThresholdResult) -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` for each threshold, today's first, then by how much they reject."""
    today, *others = result.choices
    for choice in (today, *sorted(others, key=lambda choice: -choice.effect.limits.reject)):
        effect = choice.effect
        never = effect.limits.review >= effect.limits.reject
        yield (
            choice.name,
            f"{effect.limits.reject:.6g}",
            "never" if never else f"{effect.limits.review:.6g}",
            _of(effect.rejected, effect.images),
            _of(effect.reviewed, effect.images),
            _of(effect.good_rejected, effect.good),
            _of(effect.defects_passed, effect.defects),
        )


def basis(result: ThresholdResult) -> str:
    """What the figures rest on, in a sentence."""
    line, hours = result.live.manifest.line, f"{result.hours:g} hours"
    if not result.images:
        return f"No image of {line} was scored with this model in the last {hours}: nothing to compare thresholds by."
    known = result.choices[0].effect
    return (
        f"Of {result.images:,} images that this model scored in the last {hours}; people call {known.good:,} of them "
        f"good and {known.defects:,} defective."
    )


def _of(count: int, images: int) -> str:
    return f"{count:,} of {images:,}" + (f" ({count / images:.2%})" if images else "")
