"""Whether a version may flag more of the production than the live one: by what both flag, and what people say of it.

More flagged images may be defects that the live version misses. They hold a candidate only where its share of them lies
wholly above what is explained: by good parts, of which the promised rate is rejected and so many times as many flagged,
and by defects, of which there are so many as people found among images that they were asked about at random; with no
such answers, as many as the live version flags. What people say of the images that only the candidate flags comes
first: those that are defective are taken out, and the rest is judged by the same rule. A candidate that flags most of
the production, as the live version does, too, is held: another version that knows nothing is no gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deploy.bundles.bundle import Bundle
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.gate_checks import (
    CHANCE_OF_FALSE_REJECTS,
    Check,
    by_chance,
    count_of,
    counted_check,
    differing,
    flagged,
)
from flows.gate.paired_scores import Pair
from pipeline.calibration import REVIEW_FACTOR
from pipeline.paired_comparison import chance_of_more
from pipeline.promise import counted_among, counted_interval

MORE_FLAGGED = 0.02
"""Share of the production that a candidate may flag more than the live version, whatever the evidence."""
STREAM = "images of the production flagged"
"""What the check of the production looks at."""
ALONE_FLAGGED = 0.5
"""The interval of its share flagged that lies wholly above this holds a candidate, with no live version and beside one
that flags no more."""
_UNSAID_OF_SAMPLE = 0.1
"""Share of the images of a sample of which nobody said a word (skipped, or new since): its bounds hold whatever they
show."""


def contested(production: Iterable[Pair]) -> list[Pair]:
    """The images of the production that the candidate flags and the live version does not, in the order of their
    contents' SHA-256: it has nothing to do with what they show, so that any first so many are a uniform sample. Those
    that nobody has said a word on, or can any more, come last: that they are gone says nothing of them either.
    """
    found = [
        pair for pair in production if pair.live is not None and flagged(pair.candidate) and not flagged(pair.live)
    ]
    return sorted(found, key=lambda pair: (pair.image.kind is Kind.UNLABELLED and pair.image.gone, pair.image.sha256))


def production_check(production: Sequence[Pair], candidate: Bundle, defect_share: float | None) -> Check | None:
    """The check of images of the production.

    Args:
        production: what both versions say of a uniform sample of it, whatever is known of an image.
        candidate: the version that is to go live.
        defect_share: of the production, 0..1, at most, as far as people say; None: they do not.
    """
    if not production:
        return None
    more, fewer, counts = differing(production, flagged)
    problem, said = "", count_of(counts[0], len(production))
    if production[0].live is None:
        if counted_interval(counts[0], len(production))[0] > ALONE_FLAGGED:
            problem = f"it flags {said} images of the production, more than half of them whatever the luck"
    else:
        seen = FlaggedImages(
            images=len(production),
            flagged=counts[0],
            flagged_by_live=counts[1] or 0,
            more=more,
            fewer=fewer,
            good=flagged_good_parts(candidate),
            defect_share=defect_share,
        )
        if seen.holds(0):
            problem = _unless_defective(seen, [pair.image for pair in contested(production)])
        elif seen.knows_no_more():
            problem = (
                f"it flags {said} images of the production, more than half of them whatever the luck, the live version "
                f"{seen.flagged_by_live}: neither knows what is good there"
            )
    return counted_check(STREAM, production, counts, problem)


@dataclass(frozen=True, kw_only=True)
class FlaggedImages:
    """What was counted: images, those that either version flags, those that only one flags; and the shares, 0..1, of
    good parts that the candidate is to flag and of defects that people found (None: they were not asked).
    """

    images: int
    flagged: int
    flagged_by_live: int
    more: int
    fewer: int
    good: float
    defect_share: float | None

    def defects(self, defective: int) -> float:
        """The share of the production that other defects explain than so many that only the candidate flags."""
        if self.defect_share is None:
            return self.flagged_by_live / self.images
        return max(0.0, self.defect_share - defective / self.images)

    def holds(self, defective: int) -> bool:
        """Whether the candidate flags too much, if so many of those that only it flags are defective."""
        more = self.more - defective
        return (
            (more - self.fewer) / self.images > MORE_FLAGGED
            and counted_interval(self.flagged - defective, self.images)[0] > self.good + self.defects(defective)
            and chance_of_more(more, self.fewer) <= CHANCE_OF_FALSE_REJECTS
        )

    def knows_no_more(self) -> bool:
        """Whether the candidate flags most of the production, as the live version does, though it is not defective."""
        return (
            counted_interval(self.flagged, self.images)[0] > max(ALONE_FLAGGED, self.good + (self.defect_share or 0.0))
            and chance_of_more(self.fewer, self.more) > CHANCE_OF_FALSE_REJECTS
        )


def _unless_defective(seen: FlaggedImages, images: Sequence[EvidenceImage]) -> str:
    """Why a candidate that flags too much is held after all that people say of what only it flags; empty: it is not.

    Args:
        seen: what was counted.
        images: each that only the candidate flags, in an order that nothing they show decides.
    """
    kinds = [image.kind for image in images]
    held_before = [0]  # how many counts of defective images below each one would hold it
    for defective in range(len(kinds) + 1):
        held_before.append(held_before[-1] + seen.holds(defective))

    def ruling(known: Sequence[Kind]) -> bool | None:
        """Whether it is held; None: it depends on images that nobody has said a word on."""
        fewest, most = _defective_of(known)
        held = held_before[most + 1] - held_before[fewest]
        return None if 0 < held < most + 1 - fewest else bool(held)

    held = ruling(kinds)
    if held is False:
        return ""
    why = "people found" if seen.defect_share is not None else "the live version flags"
    flags = f"it flags {count_of(seen.flagged, seen.images)} images of the production"
    told = (
        f"{flags}, the live version {seen.flagged_by_live} ({by_chance(chance_of_more(seen.more, seen.fewer))}), "
        f"more than the {seen.good:.1%} of good parts that its threshold is set for and the {seen.defects(0):.1%} of "
        f"defects that {why} explain; "
    )
    defective, spoken_of = kinds.count(Kind.DEFECT), len(kinds) - kinds.count(Kind.UNLABELLED)
    answers = f"{count_of(defective, spoken_of)} that people spoke of are defective"
    if held:
        return f"{told}of the {len(kinds)} that only it flags, {answers}, which does not explain them either"
    so_far = f", and {answers} so far" if spoken_of else ""
    askable = [index for index, image in enumerate(images) if image.askable]
    needed = _answers_needed(kinds, askable, ruling, defective / spoken_of if spoken_of else 1.0)
    only_it = f"{told}only it flags {len(kinds)} of them{so_far}"
    if needed is None:
        return (
            f"{only_it}, and too many of the others are gone for answers to decide: run the gate again once there is "
            "more of the production"
        )
    return (
        f"{only_it}: say on the review page what they show, it asks about them "
        f"as contested; about {needed} {'more answers' if spoken_of else 'answers'} decide, then run the gate again"
    )


def _defective_of(kinds: Sequence[Kind]) -> tuple[int, int]:
    """How many images are defective, at least and at most, from those of which it is known.

    The sample is the longest beginning, up to an answer, of which nearly all is known: its end is chosen by what was
    answered, never by the answers, and its bounds hold at every end. What is not known of it may show anything.
    """
    defective, unsaid, sample = 0, 0, (0, 0, 0)
    for count, kind in enumerate(kinds, start=1):
        defective += kind is Kind.DEFECT
        unsaid += kind is Kind.UNLABELLED
        if kind is not Kind.UNLABELLED and unsaid <= _UNSAID_OF_SAMPLE * count:
            sample = count, defective, unsaid
    count, in_sample, unsaid = sample
    possible = len(kinds) - kinds.count(Kind.GOOD)
    fewest = min(possible, max(defective, counted_among(in_sample, count, len(kinds))[0]))
    return fewest, min(possible, max(fewest, counted_among(in_sample + unsaid, count, len(kinds))[1]))


def _answers_needed(
    kinds: Sequence[Kind], askable: Sequence[int], ruling: Callable[[Sequence[Kind]], bool | None], share: float
) -> int | None:
    """How many answers in the order of the questions decide, if as large a share of them is defective as so far; None:
    all that can be asked for do not.
    """
    known = list(kinds)
    for number, index in enumerate(askable, start=1):
        known[index] = Kind.DEFECT if int(number * share) > int((number - 1) * share) else Kind.GOOD
        if ruling(known) is not None:
            return number
    return None


def flagged_good_parts(candidate: Bundle) -> float:
    """The share of good parts that the candidate's threshold is to reject or have looked at."""
    threshold = candidate.manifest.threshold
    rate, expected = threshold.target_false_reject_rate, threshold.expected_false_reject_rate
    if threshold.target_missed_defect_rate is not None and expected is not None:
        rate = expected  # what was asked for is another rate; this is what it comes to
    return min(0.5, REVIEW_FACTOR * rate) if threshold.review < threshold.reject else rate
