"""Parts of a manifest that a card tells in a sentence each."""

from __future__ import annotations

from deploy.bundles.manifest import LACKS_META_MODEL, FirstLookRecord, Int8Record, KindsRecord, LearnerRecord


def learner_text(learner: LearnerRecord) -> str:
    """Its name, and why no meta-model helps where one might have."""
    if not learner.config.get(LACKS_META_MODEL):
        return learner.name
    return f"{learner.name}: no meta-model for lines without defective images is of this backbone and input size"


def named_kinds_text(kinds: KindsRecord) -> str:
    """The kinds of defects, and how many images show each."""
    return ", ".join(f"{name} ({count:,})" for name, count in zip(kinds.names, kinds.images, strict=True))


def told_apart_text(kinds: KindsRecord) -> str:
    """How many of the defects were given their own kind by prototypes that do not know them."""
    asked, none = sum(map(sum, kinds.confusion)), sum(row[-1] for row in kinds.confusion)
    if not asked:
        return "not measured: that takes two images of a kind"
    right = sum(row[kind] for kind, row in enumerate(kinds.confusion))
    return f"{right:,} of {asked:,} defects, by prototypes without them; {none:,} were called none of these"


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


def first_look_text(record: FirstLookRecord) -> str:
    """What a first look settles, and how many good parts it is expected to leave to the second."""
    size, look = record.spec.size, record.look
    return (
        f"at {size}: a score below {look.limit:.6g} there is PASS, all else is looked at again, {look.doubted:.0%} of "
        f"good parts among it; differs from training's by at most {record.parity.max_score_error:.2g}"
    )
