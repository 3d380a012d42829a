"""The model card: a bundle's facts for people, and what its model cannot do."""

from __future__ import annotations

import re

from deploy.bundles.facts import Fact, facts_of
from deploy.bundles.manifest import BundleDraft
from pipeline.unicode_names import one_line


def render_card(manifest: BundleDraft) -> str:
    """The model card, as Markdown."""
    sections = "\n".join(
        f"## {section}\n\n| | |\n|---|---|\n{''.join(_row(fact) for fact in facts)}"
        for section, facts in facts_of(manifest).items()
    )
    return f"""# {_cell(manifest.line)}, version {manifest.version}

{sections}
## Limits

- It knows this line only: another product, camera, lens or light needs an adaptation of its own.
{_of_the_threshold(manifest)}
- A defect much smaller than a cell of the finest feature grid ({manifest.spec.levels[0].stride} pixels of the resized
  image) may be missed.
- A score says how unlike the good support images a part looks. It names no defect and no cause.
"""


def _of_the_threshold(manifest: BundleDraft) -> str:
    """What cannot be promised of it."""
    if manifest.lineage.set_by_hand is not None:
        return """- A person set its threshold. No rate of rejected good parts or of missed defects is
  promised; watch the share of rejected parts after promotion."""
    samples = manifest.threshold.sample_count
    return f"""- It was calibrated on {samples} scores. Rates below one in {max(samples, 1)} cannot be
  promised from so many; watch the share of rejected parts after promotion."""


def _row(fact: Fact) -> str:
    value = _code(fact.value) if fact.code else _cell(fact.value)
    return f"| {_cell(fact.name)} | {value} |\n"


def _cell(text: str) -> str:
    """Text from outside as part of one Markdown line."""
    return re.sub(r"([|`<\[\]\\])", r"\\\1", one_line(" ".join(text.split())))


def _code(text: str) -> str:
    """Text from outside in a fixed-width face, where Markdown knows no escape but the table's."""
    return f"`{one_line(' '.join(text.split())).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
