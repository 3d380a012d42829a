"""A bundle's manifest as short readable facts, for the report's page."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bundles.card import evidence_text, int8_text
from deploy.bundles.manifest import BundleDraft


@dataclass(frozen=True)
class Fact:
    """One line of the card. `code` facts are hashes and settings, set in a fixed-width face."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class CardSection:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


def card_sections(manifest: BundleDraft) -> tuple[CardSection, ...]:
    """What a vision engineer asks of a model, in the order he asks it."""
    return (
        CardSection("Decision", _decision(manifest)),
        CardSection("Adapted from", _support(manifest)),
        CardSection("Measured", _measured(manifest)),
        CardSection("Model", _model(manifest)),
    )


def _decision(manifest: BundleDraft) -> tuple[Fact, ...]:
    threshold = manifest.threshold
    return (
        Fact("REJECT from a score of", f"{threshold.reject:.5g}"),
        Fact("REVIEW from", f"{threshold.review:.5g}" if threshold.review < threshold.reject else "never"),
        Fact("A pixel is outlined from", f"{threshold.pixel:.5g}"),
        Fact("Set by", f"{threshold.method}, on {threshold.sample_count:,} scores"),
        Fact("Good parts rejected, asked for", f"{threshold.target_false_reject_rate:.2%}"),
        Fact("Good parts rejected, seen when set", f"{threshold.expected_false_reject_rate:.2%}"),
    )


def _support(manifest: BundleDraft) -> tuple[Fact, ...]:
    support, lineage = manifest.support, manifest.lineage
    defects = f"{len(support.defects)} ({support.masks} with a mask)" if support.defects else "none"
    return (
        Fact("Good images", str(len(support.good))),
        Fact("Defective images", defects),
        Fact("Replaces version", lineage.parent or "none: the first"),
        Fact("Meta-trained on", ", ".join(lineage.training_lines) or "nothing: this learner is not meta-trained"),
        Fact("Seed", str(lineage.seed)),
    )


def _measured(manifest: BundleDraft) -> tuple[Fact, ...]:
    parity = manifest.parity
    metrics = [Fact(name.replace("_", " "), f"{value:.4g}") for name, value in sorted(manifest.metrics.items())]
    return (
        *(metrics or [Fact("Metrics", "none: there were no labelled test images")]),
        Fact(
            "Plant scores differ from training's by at most",
            f"{parity.max_score_error:.2g} (tolerance {parity.tolerance:.2g}, {parity.images} images)",
        ),
        *([Fact("int8 backbone", int8_text(manifest.int8))] if manifest.int8 else []),
    )


def _model(manifest: BundleDraft) -> tuple[Fact, ...]:
    spec, learner, white = manifest.spec, manifest.learner, manifest.preprocess.white_level
    settings = ", ".join(f"{name}={value}" for name, value in sorted(learner.config.items()))
    return (
        Fact("Learner", learner.name),
        *(Fact(choice.what[0].upper() + choice.what[1:], evidence_text(choice)) for choice in manifest.choices),
        *([Fact("Settings", settings, code=True)] if settings else []),
        *([Fact("Meta-model", learner.meta_model, code=True)] if learner.meta_model else []),
        Fact("Backbone", f"{spec.name} (frozen; weights: {spec.weights_source}, licence {spec.weights_licence})"),
        Fact("Backbone fingerprint", spec.fingerprint, code=True),
        Fact("Input", f"{spec.height} × {spec.width} RGB" + (f", white level {white}" if white is not None else "")),
        Fact("Made", f"{manifest.created_at:%Y-%m-%d %H:%M %Z} by Linewise {manifest.linewise_version}"),
    )
