"""By which rules a new version of a line is let through: each compares it with the live one, or looks at it alone.

Counts of few images say little, so that no rule compares bare rates. Where both versions scored the same images, only
those on which they differ tell anything, and how unlikely they are by chance is exact (McNemar). A missed defect is
worse than a false reject, so that less evidence of it is enough.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from deploy.bundles.bundle import Bundle
from deploy.bundles.packs import Deployment
from flows.calibrate.new_images import Kind
from flows.gate.gate_checks import (
    CHANCE_OF_FALSE_REJECTS,
    Check,
    by_chance,
    count_of,
    counted_check,
    differing,
)
from flows.gate.paired_scores import Pair, Pairs, Said, Times
from flows.gate.production_rule import production_check
from pipeline.calibration import Decision
from pipeline.paired_comparison import auroc_difference, chance_of_more
from pipeline.promise import counted_interval

CHANCE_OF_MISSES = 0.25
"""As `CHANCE_OF_FALSE_REJECTS`, of missed defects: two more and none fewer are enough."""
AUROC_LOSS = 0.01
"""The interval of the difference in image AUROC that lies wholly below this loss holds a candidate."""
LEAST_RANKED = 5
"""Good and defective images from which the ranking is compared."""
ALONE_FALSE_REJECTS = 0.1
"""With no live version: the interval of its false-reject rate that lies wholly above this, and above what the version
promises, holds a candidate."""
ALONE_MISSES = 0.5
"""With no live version: likewise of missed defects, held back or known."""
TIMES_AS_SLOW = 2.0
"""What a candidate may take for an image, in the live version's times."""
CHANCE_OF_SLOW = 0.01
"""A candidate is held as too slow where one that takes just `TIMES_AS_SLOW` would be above it so often with at most
this chance: 13 of 15."""
TIMES_AS_LARGE = 2.0


def checks_of(
    candidate: Deployment,
    live: Deployment | None,
    scored: Pairs,
    *,
    resident: Sequence[int | None] = (None,),
    defect_share: float | None = None,
    looks_before: int = 0,
) -> tuple[Check, ...]:
    """All rules.

    Args:
        candidate: the version that is to go live.
        live: the one that is; None: the candidate is looked at alone.
        scored: what both say of images that neither has learned.
        resident: bytes of memory that either takes, the candidate's first; None: not to be told.
        defect_share: of the production, 0..1, at most, as far as people say; None: they do not.
        looks_before: how often a gate held the candidate beside the same live version; `scored` has the images of
            those looks, too, so that none of the rules lets it through as others were drawn.
    """
    good, defective = scored.of(Kind.GOOD), scored.of(Kind.DEFECT)
    found = [
        _parity(candidate.bundle, live.bundle if live is not None else None),
        _look(_false_rejects(good, candidate.bundle), looks_before),
        _look(_misses(defective), looks_before),
        _look(_ranking(good, defective, live is not None), looks_before),
        _known_defects(candidate.bundle, live.bundle if live is not None else None),
        _look(production_check(scored.production, candidate.bundle, defect_share), looks_before),
        _speed(scored.times),
        _memory(resident),
    ]
    if live is not None and not scored.pairs:
        problem = "there is no image to compare on that neither version has learned"
        found.append(Check(what="images to compare on", live="none", candidate="none", problem=problem))
    return tuple(check for check in found if check is not None)


def _look(check: Check | None, looks_before: int) -> Check | None:
    """The check of a rule that counts images, with the number of the look at them."""
    if check is None or not check.problem or not looks_before:
        return check
    told = f"look {looks_before + 1} at it: the images of all looks count, so that more of them, or answers, decide"
    return replace(check, problem=f"{check.problem} ({told})")


def _parity(candidate: Bundle, live: Bundle | None) -> Check:
    record = candidate.manifest.parity
    worst = max(record.max_score_error, record.max_map_error)
    problem = "" if worst <= record.tolerance else f"its graphs differ from torch by {worst:.2g}"
    before = live.manifest.parity if live is not None else None
    return Check(
        what="largest difference between ONNX and torch",
        live="–" if before is None else f"{max(before.max_score_error, before.max_map_error):.2g}",
        candidate=f"{worst:.2g} (at most {record.tolerance:g})",
        problem=problem,
    )


def _false_rejects(good: Sequence[Pair], candidate: Bundle) -> Check | None:
    if not good:
        return None
    more, fewer, counts = differing(good, _rejected)
    problem, said = "", count_of(counts[0], len(good))
    if good[0].live is None:
        promise = candidate.manifest.promise
        most = max(ALONE_FALSE_REJECTS, promise.highest_rate if promise is not None else 0.0)
        if counted_interval(counts[0], len(good))[0] > most:
            problem = f"it rejects {said} held-back good parts, more than {most:.0%} of them whatever the luck"
    elif (chance := chance_of_more(more, fewer)) <= CHANCE_OF_FALSE_REJECTS:
        problem = f"it rejects {said} held-back good parts, the live version {counts[1]} ({by_chance(chance)})"
    return counted_check("held-back good parts rejected", good, counts, problem)


def _misses(defective: Sequence[Pair]) -> Check | None:
    if not defective:
        return None
    more, fewer, counts = differing(defective, _passed)
    problem, said = "", count_of(counts[0], len(defective))
    if defective[0].live is None:
        if counted_interval(counts[0], len(defective))[0] > ALONE_MISSES:
            problem = f"it misses {said} held-back defects, more than half of them whatever the luck"
    elif (chance := chance_of_more(more, fewer)) <= CHANCE_OF_MISSES:
        problem = f"it misses {said} held-back defects, the live version {counts[1]} ({by_chance(chance)})"
    return counted_check("held-back defects missed", defective, counts, problem)


def _ranking(good: Sequence[Pair], defective: Sequence[Pair], has_live: bool) -> Check | None:
    """Of images that both versions gave a score."""
    good, defective = _judged(good), _judged(defective)
    if not has_live or min(len(good), len(defective)) < LEAST_RANKED:
        return None
    of_candidate, of_live, (lowest, highest) = auroc_difference(
        *(_scores(pair.candidate for pair in pairs) for pairs in (good, defective)),
        *(_scores(pair.live for pair in pairs) for pairs in (good, defective)),
    )
    problem = ""
    if highest < -AUROC_LOSS:
        problem = (
            f"it ranks held-back images worse: image AUROC {100 * of_candidate:.1f} %, the live version "
            f"{100 * of_live:.1f} % (90 % of the differences between {100 * lowest:.1f} and {100 * highest:.1f} points)"
        )
    what = "image AUROC of held-back images"
    return Check(what=what, live=f"{100 * of_live:.1f} %", candidate=f"{100 * of_candidate:.1f} %", problem=problem)


def _known_defects(candidate: Bundle, live: Bundle | None) -> Check | None:
    """Of each version's own known defects, every one scored by a head that was not shown it, as its promise says."""
    promise, before = candidate.manifest.promise, live.manifest.promise if live is not None else None
    if promise is None or not promise.known_defects:
        return None
    passed, known = promise.known_defects_passed, promise.known_defects
    compared = before is not None and bool(before.known_defects)
    most = max(before.share_passed if before is not None and compared else 0.0, ALONE_MISSES)
    problem = ""
    if counted_interval(passed, known)[0] > most:
        problem = f"{count_of(passed, known)} known defects would pass, more than {most:.0%} of them whatever the luck"
    return Check(
        what="known defects that would pass",
        live=count_of(before.known_defects_passed, before.known_defects) if before is not None and compared else "–",
        candidate=count_of(passed, known),
        problem=problem,
    )


def _speed(times: Sequence[Times]) -> Check | None:
    """Of times taken one right after the other, so that whatever else the machine did was mostly in either's way."""
    if not times:
        return None
    after, told, problem = statistics.median(one.candidate for one in times), "–", ""
    compared = [(one.candidate, one.live) for one in times if one.live is not None]
    if compared:
        told = f"{1000 * statistics.median(live for _, live in compared):.0f} ms"
        ratios = [candidate / live for candidate, live in compared]
        slow = sum(ratio > TIMES_AS_SLOW for ratio in ratios)
        if chance_of_more(slow, len(ratios) - slow) <= CHANCE_OF_SLOW:
            ratio = statistics.median(ratios)
            problem = f"it takes {ratio:.1f} times as long for an image (at most {TIMES_AS_SLOW:g})"
    return Check(what="time of an image", live=told, candidate=f"{1000 * after:.0f} ms", problem=problem)


def _memory(resident: Sequence[int | None]) -> Check | None:
    after, before = resident[0], resident[1] if len(resident) > 1 else None
    if after is None:
        return None
    problem = ""
    if before is not None and after > TIMES_AS_LARGE * before:
        problem = f"it takes {after / before:.1f} times as much memory (at most {TIMES_AS_LARGE:g})"
    told = "–" if before is None else f"{before / 1024**2:.0f} MiB"
    return Check(what="memory that scoring takes", live=told, candidate=f"{after / 1024**2:.0f} MiB", problem=problem)


def _rejected(said: Said) -> bool:
    return said.decision is Decision.REJECT


def _passed(said: Said) -> bool:
    return said.decision is Decision.PASS


def _judged(pairs: Sequence[Pair]) -> list[Pair]:
    return [pair for pair in pairs if None not in (pair.candidate.score, pair.live and pair.live.score)]


def _scores(said: Iterable[Said | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([one.score for one in said if one is not None], np.float64)
