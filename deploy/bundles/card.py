"""The model card: a bundle's manifest for people."""

from __future__ import annotations

import json
import re

from deploy.bundles.manifest import BundleDraft, ChoiceRecord, Int8Record


def render_card(manifest: BundleDraft) -> str:
    """The model card, as Markdown."""
    threshold, spec, support = manifest.threshold, manifest.spec, manifest.support
    meta_model = f", meta-model `{manifest.learner.meta_model}`" if manifest.learner.meta_model else ""
    rows = [f"| {_cell(name)} | {value:.4g} |" for name, value in sorted(manifest.metrics.items())]
    metrics = "\n".join(["| Metric | Value |", "|---|---|", *rows]) if rows else "None: no labelled test images."
    lines = ", ".join(manifest.lineage.training_lines) or "none: this learner is not meta-trained"
    white = manifest.preprocess.white_level
    chosen = "\n".join(f"| {_cell(choice.what)} | {_cell(evidence_text(choice))} |" for choice in manifest.choices)
    return f"""# {_cell(manifest.line)}, version {manifest.version}

Made {manifest.created_at:%Y-%m-%d %H:%M %Z} by Linewise {manifest.linewise_version}.

| | |
|---|---|
| Learner | {_cell(manifest.learner.name)}{meta_model} |
| Backbone | {_cell(spec.name)}, frozen, fingerprint `{spec.fingerprint}` |
| Backbone weights | {_cell(spec.weights_source)}, licence {_cell(spec.weights_licence)} |
| Input | {spec.height} x {spec.width} RGB{f", white level {white}" if white is not None else ""} |
| Adapted from | {len(support.good)} good images, {len(support.defects)} defects ({support.masks} with a mask) |
{chosen}

## Decision

REJECT from a score of {threshold.reject:.6g}, REVIEW from {threshold.review:.6g}, else PASS.
A pixel is marked from {threshold.pixel:.6g}.

The threshold was set by {_cell(threshold.method)} on {threshold.sample_count} scores,
for a false-reject rate of {threshold.target_false_reject_rate:.2%};
at this threshold they show {threshold.expected_false_reject_rate:.2%}.

## Metrics

{metrics}

## Parity of the exported graphs

On {manifest.parity.images} images the score differs from training's by at most {manifest.parity.max_score_error:.2g}
and the map by at most {manifest.parity.max_map_error:.2g} (tolerance {manifest.parity.tolerance:.2g}).
{_int8_section(manifest.int8) if manifest.int8 else ""}
## Lineage

- Seed: {manifest.lineage.seed}
- Replaces version: {manifest.lineage.parent or "none"}
- Meta-trained on: {_cell(lines)}
- Learner's configuration: `{json.dumps(manifest.learner.config, sort_keys=True)}`

## Limits

- It knows this line only: another product, camera, lens or light needs an adaptation of its own.
- It was calibrated on {threshold.sample_count} scores. Rates below one in {max(threshold.sample_count, 1)} cannot be
  promised from so many; watch the share of rejected parts after promotion.
- A defect much smaller than a cell of the finest feature grid ({spec.levels[0].stride} pixels of the resized image)
  may be missed.
- A score says how unlike the good support images a part looks. It names no defect and no cause.
"""


def evidence_text(choice: ChoiceRecord) -> str:
    """What was chosen and over what: `512 px (evidence 4.21; 256 px 3.07)`."""
    others = "".join(f"; {name} {value:.2f}" for name, value in choice.evidence.items() if name != choice.chosen)
    return f"{choice.chosen}, chosen from the support (evidence {choice.evidence[choice.chosen]:.2f}{others})"


def int8_text(int8: Int8Record) -> str:
    """What the gate saw, in one sentence."""
    if int8.auroc_float32 is None or int8.auroc_int8 is None:
        auroc = ""
    else:
        auroc = f"image AUROC {int8.auroc_int8:.2%} (float32 {int8.auroc_float32:.2%}), "
    return (
        f"On {int8.good} good and {int8.defects} defective images of the line: {auroc}"
        f"rank correlation {int8.rank_correlation:.3f}, {int8.decisions_changed} decisions changed, "
        f"good scores moved by {int8.good_shift:+.2f} standard deviations, "
        f"no score by more than {int8.largest_difference:.2f}."
    )


def _int8_section(int8: Int8Record) -> str:
    return f"""
## int8

The backbone is int8, made from the float32 one `{int8.float32_fingerprint}`; head and threshold are those of version
{int8.float32_version}, whose float32 graphs the parity above is of. {int8_text(int8)}
"""


def _cell(text: str) -> str:
    """Text from outside as part of one Markdown line."""
    return re.sub(r"([|`<\[\]\\])", r"\\\1", " ".join(text.split()))
