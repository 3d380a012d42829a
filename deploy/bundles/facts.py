"""What a manifest says, told once: the card, the report's page, the Prefect UI and the terminal render this list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from deploy.bundles.manifest import BundleDraft, CalibrationRecord, ChoiceRecord, SetByHandRecord
from deploy.bundles.records_in_words import first_look_text, int8_text, learner_text, named_kinds_text, told_apart_text
from pipeline.likeness import Likeness
from pipeline.more_images import distribution_free_count
from pipeline.promise import Forecast, Promise
from pipeline.score_tail import ScoreTail


class Section(StrEnum):
    """Headings, in the order in which an engineer asks."""

    DECISION = "Decision"
    SUPPORT = "Adapted from"
    MEASURED = "Measured"
    MODEL = "Model"


@dataclass(frozen=True)
class Fact:
    """One thing that a manifest says.

    Args:
        key: names it for programs; unique in a manifest's list, and stays when the words change.
        name: names it for people.
        value: in words and numbers.
        code: a hash or settings, set in a fixed-width face.
        brief: told also where there is room for a few lines only.
    """

    key: str
    name: str
    value: str
    code: bool = False
    brief: bool = False


def facts_of(manifest: BundleDraft) -> dict[Section, tuple[Fact, ...]]:
    """All facts, by section, in the order to tell them."""
    return {
        Section.DECISION: tuple(_decision(manifest)),
        Section.SUPPORT: tuple(_support(manifest)),
        Section.MEASURED: tuple(_measured(manifest)),
        Section.MODEL: tuple(_model(manifest)),
    }


def all_facts(manifest: BundleDraft) -> list[Fact]:
    """The same without sections."""
    return [fact for facts in facts_of(manifest).values() for fact in facts]


def _decision(manifest: BundleDraft) -> Iterator[Fact]:
    threshold = manifest.threshold
    review = f"{threshold.review:.6g}" if threshold.review < threshold.reject else "never"
    yield Fact("reject", "REJECT from a score of", f"{threshold.reject:.6g}", brief=True)
    yield Fact("review", "REVIEW from", review)
    yield Fact("pixel", "A pixel is outlined from", f"{threshold.pixel:.6g}")
    if threshold.least_area:
        least = f"{manifest.least_area_in_words}; a smaller region does not count"
        yield Fact("least_area", "Least area of a defect", least, brief=True)
    if threshold.millimetres_per_pixel is not None:
        yield Fact("millimetres_per_pixel", "A pixel's side on the part", f"{threshold.millimetres_per_pixel:g} mm")
    if manifest.region is not None:
        looked = f"{manifest.region.share:.0%} of the image; only whether it is of the line is told by the whole of it"
        yield Fact("region", "Looked at", looked, brief=True)
    if (first := manifest.first_look) is not None:
        yield Fact("first_look", "First look", first_look_text(first), brief=True)
    yield Fact("unlike", "REVIEW as unlike the line", _unlike_text(manifest.likeness))
    if manifest.lineage.set_by_hand is None:
        yield from _calibrated(manifest)
    else:
        yield from _set_by_hand(manifest, manifest.lineage.set_by_hand)
    if (tail := threshold.tail) is not None:
        told = f"the share of good parts that score at least so high, told down to {_share_text(tail.smallest)}"
        yield Fact("p_value", "p-value of a score", told)


def _set_by_hand(manifest: BundleDraft, record: SetByHandRecord) -> Iterator[Fact]:
    """Who set the threshold, when and why. No rate is told: nothing was calibrated for it."""
    who = f"a person, {record.by}" if record.by else "a person"
    yield Fact("threshold_method", "Set by", f"{who}, {record.at:%Y-%m-%d %H:%M %Z}", brief=True)
    yield Fact("set_by_hand_why", "Why", record.why, brief=True)
    review = (
        "REVIEW never" if record.review_before >= record.reject_before else f"REVIEW from {record.review_before:.6g}"
    )
    before = f"REJECT from {record.reject_before:.6g}, {review} (version {record.set_from}, whose model this is)"
    yield Fact("set_by_hand_before", "Before", before, brief=True)
    promised = "none: nothing was calibrated for this threshold, so watch the rejects"
    yield Fact("no_rate", "Good parts rejected, promised", promised, brief=True)
    if manifest.threshold.tail is not None:
        scores, again = _count(manifest.threshold.sample_count, "score"), manifest.calibration
        kind = "unlabelled images" if again is not None and again.unlabelled else "good images"
        yield Fact("p_value_source", "p-values as before, from", f"{scores} of {kind}")


def _calibrated(manifest: BundleDraft) -> Iterator[Fact]:
    """By what the threshold was calibrated, and what that promises."""
    threshold = manifest.threshold
    scores = _count(threshold.sample_count, "score")
    again = manifest.calibration
    kind = "unlabelled images" if again is not None and again.unlabelled else "good images"
    yield Fact("threshold_method", "Set by", f"{threshold.method}, on {scores} of {kind}", brief=True)
    if again is not None:
        yield Fact("calibrated_from", "Set anew", _calibration_text(again), brief=True)
    target, expected = threshold.target_false_reject_rate, threshold.expected_false_reject_rate
    missed = threshold.target_missed_defect_rate
    if missed is None:
        yield Fact("target_false_reject_rate", "Good parts rejected, asked for", f"{target:.2%}", brief=True)
    else:
        asked = f"at most {missed:.2%} of defects like yours; what that costs in good parts follows"
        yield Fact("target_missed_defect_rate", "Defects not rejected, asked for", asked, brief=True)
    if (promise := manifest.promise) is not None:
        yield Fact(
            "rate_interval",
            "Good parts rejected, estimate for production",
            rates_text(promise),
            brief=True,
        )
        # Split conformal prediction (Vovk et al. 2005): n scores show no rate below one in n + 1.
        shown = f"no rate below {100 / (threshold.sample_count + 1):.3g}%: the rest is a model of how scores spread"
        yield Fact("rate_shown", f"{scores} alone can show", shown)
        if promise.known_defects:
            passed = f"{promise.known_defects_passed} of {promise.known_defects}"
            passed = f"{passed}, each scored by a model that was not shown it"
            yield Fact("known_defects_passed", "Your defects that would not be rejected", passed, brief=True)
        yield from _more_images(manifest, promise)
    if expected is not None:
        as_calibrated = _share_text(expected, threshold.tail)
        yield Fact(
            "expected_false_reject_rate", "Good parts rejected, as calibrated", as_calibrated, brief=missed is not None
        )


def _support(manifest: BundleDraft) -> Iterator[Fact]:
    support, lineage = manifest.support, manifest.lineage
    defects = f"{len(support.defects)} ({support.masks} with a mask)" if support.defects else "none"
    lines = ", ".join(lineage.training_lines) or "nothing: this learner is not meta-trained"
    labelled = len(support.good) - len(support.taken_up)
    yield Fact("good", "Good images", f"{labelled:,}", brief=True)
    if support.taken_up or support.not_taken_up:
        unlabelled = len(support.taken_up) + len(support.not_taken_up)
        others = "; the others look unlike them" if support.not_taken_up else ""
        taken = f"{len(support.taken_up):,} of {unlabelled:,} taken up as good{others}"
        yield Fact("unlabelled", "Unlabelled images", taken, brief=True)
    yield Fact("defects", "Defective images", defects, brief=True)
    if (kinds := manifest.kinds) is not None:
        yield Fact("kinds", "Kinds of defects", named_kinds_text(kinds), brief=True)
    if support.good_by_verdict or support.defects_by_verdict:
        judged = f"{support.good_by_verdict:,} good, {support.defects_by_verdict:,} defective"
        yield Fact("by_verdict", "Of these by people's verdicts", judged, brief=True)
    if support.left_out is not None:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in support.left_out.items()) or "nothing"
        yield Fact("left_out", "Left out of the folder", left_out, brief=bool(support.left_out))
    yield Fact("parent", "Replaces version", lineage.parent or "none: the first")
    yield Fact("training_lines", "Meta-trained on", lines)
    yield Fact("seed", "Seed", str(lineage.seed))


def _measured(manifest: BundleDraft) -> Iterator[Fact]:
    parity = manifest.parity
    if manifest.kinds is not None:
        yield Fact("kinds_told_apart", "Kinds of defects told apart", told_apart_text(manifest.kinds))
    for name, value in sorted(manifest.metrics.items()):
        yield Fact(f"metric.{name}", name.replace("_", " "), f"{value:.4g}")
    if not manifest.metrics:
        yield Fact("metrics", "Metrics", "none: there were no labelled test images")
    yield Fact(
        "parity",
        "Plant scores differ from training's by at most",
        f"{parity.max_score_error:.2g}, maps by {parity.max_map_error:.2g} "
        f"(tolerance {parity.tolerance:.2g}, {_count(parity.images, 'image')})",
        brief=True,
    )
    if (int8 := manifest.int8) is not None:
        set_anew = manifest.calibration is not None or manifest.lineage.set_by_hand is not None
        whose = "head" if set_anew else "head, threshold"  # "Set anew", or "Set by", tells of another threshold
        origin = f"{int8.float32_fingerprint}; {whose} and the differences above are version {int8.float32_version}'s"
        yield Fact("int8", "int8 backbone", int8_text(int8))
        yield Fact("int8_origin", "int8 made from", origin)


def _model(manifest: BundleDraft) -> Iterator[Fact]:
    spec, learner, preprocess = manifest.spec, manifest.learner, manifest.preprocess
    yield Fact("learner", "Learner", learner_text(learner), brief=True)
    for choice in manifest.choices:
        name = choice.what[0].upper() + choice.what[1:]
        yield Fact(f"choice.{choice.what}", name, _evidence_text(choice), brief=True)
    if settings := ", ".join(f"{name}={value}" for name, value in sorted(learner.config.items())):
        yield Fact("settings", "Settings", settings, code=True)
    if learner.meta_model:
        yield Fact("meta_model", "Meta-model", learner.meta_model, code=True)
    origin = f"weights: {spec.weights_source}, licence {spec.weights_licence}"
    yield Fact("backbone", "Backbone", f"{spec.name} (frozen; {origin})")
    yield Fact("fingerprint", "Backbone fingerprint", spec.fingerprint, code=True)
    level = f", white level {preprocess.white_level}" if preprocess.white_level is not None else ""
    mosaic = f", of Bayer mosaics {preprocess.bayer}" if preprocess.bayer else ""
    aligned = f", {preprocess.alignment.in_words}" if preprocess.alignment else ""
    yield Fact("input", "Input", f"{preprocess.height} × {preprocess.width} RGB{level}{mosaic}{aligned}")
    if (tiles := manifest.tiles) is not None:
        seen = f"{tiles.rows} × {tiles.columns} of {tiles.side} px that overlap by {tiles.overlap} px"
        if tiles.seen is not None:
            seen = f"{seen}; the {tiles.count} that show some of the region are looked at"
        yield Fact("tiles", "Seen as tiles", seen, brief=True)
    yield Fact("made", "Made", f"{manifest.created_at:%Y-%m-%d %H:%M %Z} by Linewise {manifest.linewise_version}")


def _evidence_text(choice: ChoiceRecord) -> str:
    """What was chosen and over what: `512 px (evidence 4.21; 256 px 3.07)`."""
    others = "".join(f"; {name} {value:.2f}" for name, value in choice.evidence.items() if name != choice.chosen)
    return f"{choice.chosen}, chosen from the support (evidence {choice.evidence[choice.chosen]:.2f}{others})"


def _unlike_text(likeness: Likeness | None) -> str:
    """When an image is held to be none of the line's."""
    if likeness is None:
        return "never: this version was made before there was such a check"
    if (aspects := likeness.aspects) is None:
        proportions = "proportions do not count"
    else:
        proportions = f"a width of less than {aspects[0]:.2f} or more than {aspects[1]:.2f} times the height"
    return (
        f"features further than {likeness.distance:.2f} from the support's; more than {likeness.black:.0%} black, "
        f"{likeness.white:.0%} white or {likeness.even:.0%} of one value; another colour cast; {proportions}"
        f"{'' if likeness.fineness is None else '; blurred'}{'' if likeness.tones is None else '; another brightness'}"
        f"{'' if likeness.layout is None else '; another scene'}"
    )


def rates_text(promise: Promise) -> str:
    """The promised interval in words."""
    return f"{interval_text(promise)}, on nine lines of ten: watch the rejects"


def interval_text(of: Promise | Forecast) -> str:
    """An interval of rates in words: nobody reads "0.00%" as a rate that is small and not known."""
    if of.highest_rate < 1e-4:
        return "less than 0.01%"
    if of.lowest_rate < 1e-4:
        return f"up to {of.highest_rate:.2%}"
    return f"{of.lowest_rate:.2%} to {of.highest_rate:.2%}"


def _more_images(manifest: BundleDraft, promise: Promise) -> Iterator[Fact]:
    """What an engineer gets for more images; nothing where nobody computed it."""
    if promise.calibrated_with is None:
        return
    again, threshold = manifest.calibration, manifest.threshold
    adapted = [
        f"{interval_text(f)} with {f.images:,} more good ones to adapt from" for f in promise.adapted_with_more or ()
    ]
    if adapted:
        adapted[-1] += " (unlabelled ones that look good count alike)"
    elif promise.adapted_with_more is not None:
        adapted = ["hardly fewer with more to adapt from"]
    images = "more images beside these" if again is not None else "images that it was not adapted from"
    new = [
        f"{interval_text(f)} "
        + (f"with {f.images:,}" if later else f"after linewise calibrate with {f.images:,} {images}")
        for later, f in enumerate(promise.calibrated_with)
    ]
    told = "; ".join([*adapted, *new]) or "hardly fewer"
    yield Fact("more_images", "Good parts rejected, with more images", told, brief=True)
    least = distribution_free_count(threshold.target_false_reject_rate)
    if again is None or len(again.good) < least:
        asked = _share_text(threshold.target_false_reject_rate)
        kept = f"{least:,} new ones for linewise calibrate keep {asked} whatever the law of their scores"
        yield Fact("distribution_free", "Good images that need no model", kept)


def _calibration_text(again: CalibrationRecord) -> str:
    """From which images, and whose head it is."""
    images = ((again.good, "good"), (again.defects, "defective"), (again.unlabelled, "unlabelled"))
    counts = " and ".join(f"{len(hashes):,} {kind}" for hashes, kind in images if hashes)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in again.left_out.items())
    return (
        f"from {counts} images that it was not adapted from, with the head of version {again.calibrated_from}"
        f"{f'; left out: {left_out}' if left_out else ''}"
    )


def _share_text(share: float, tail: ScoreTail | None = None) -> str:
    """A share in per cent; where it is the last that the tail tells, the true one may be smaller."""
    if tail is not None and share <= tail.smallest:
        return f"at most {_share_text(tail.smallest)}"
    return f"{share:.2%}" if share >= 1e-3 or not share else f"{100 * share:.1g}%"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
