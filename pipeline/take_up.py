"""Take-up: a line learns from images of its own production that nobody has labelled.

Most parts that a line makes are good, and an hour of them shows what a handful of labelled images cannot: how good
parts vary. But some of them are defective, and a defect that is learned as good is passed from then on. So an image is
taken up on its score alone, twice: first only the lowest three fifths by the head that knows the labelled images, which
held no defect on nine of eleven real lines with a fifth of the images defective and all of one kind; then, by the
head that these gave, all that score as the bulk does. Location and width of the bulk are read off its lower part
(the 10th, 40th and 60th percentile), which defects do not reach however high they score. What scores as high as half of
the line's known defects is never taken up, however frequent it is. Figures: `benchmarks/take_up.md`.

Source: ours; filtering by score is what SoftPatch (Xi et al., NeurIPS 2022) does with patches and InReaCh (McIntosh &
Albu, ICCV 2023) with channels of them.

Shape letters: K good images, U unlabelled ones, T of them taken up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.episodes import SupportSet, UnlabelledSet
from pipeline.evaluation import score_levels
from pipeline.learner import Adaptation, AnomalyHead, AnomalyOutput, Learner
from pipeline.score_spread import normal_through

_SURE = 0.6  # of the unlabelled images, those that score lowest: taken up first
_BULK = (0.1, 0.4, 0.6)  # quantiles that tell location and width of the good parts' scores
_WIDTHS = 2.5  # standard deviations above the bulk's centre up to which an image is taken up


@dataclass(frozen=True, kw_only=True)
class TakeUp:
    """A head that took up unlabelled images, and what it took.

    Args:
        adaptation: to `support`.
        support: the K good images, then the T taken up.
        alone: scores of its good images, each by a head that does not know it: K + T.
        scores: (U,) of the unlabelled images, likewise, by the head that decided: of those taken up first.
        taken: (U,) bool.
        limit: score up to which an image was taken up.
        guarded: whether known defects set the limit.
    """

    adaptation: Adaptation
    support: SupportSet
    alone: AnomalyOutput
    scores: NDArray[np.float64]
    taken: NDArray[np.bool_]
    limit: float
    guarded: bool


def take_up(
    learner: Learner, support: SupportSet, unlabelled: UnlabelledSet, first: AnomalyHead, *, seed: int
) -> TakeUp:
    """Adapt to a support and to those of the unlabelled images that look good.

    Args:
        learner: adapts.
        support: labelled.
        unlabelled: U images, at least one.
        first: the learner's head of the labelled support.
        seed: of the adaptations.
    """
    known = score_levels(first, unlabelled.levels).image_score.double().numpy()
    sure = known <= np.quantile(known, _SURE, method="higher")
    deciding = _adapt(learner, support, unlabelled, sure, seed=seed)
    limit, guarded = _limit(deciding, support)
    taken = deciding.scores <= limit
    found = deciding if (taken == sure).all() else _adapt(learner, support, unlabelled, taken, seed=seed)
    return TakeUp(
        adaptation=found.adaptation,
        support=found.support,
        alone=found.alone,
        scores=deciding.scores,
        taken=taken,
        limit=limit,
        guarded=guarded,
    )


@dataclass(frozen=True, kw_only=True)
class _Adapted:
    """One adaptation with some unlabelled images, and everybody's score by a head that does not know it."""

    adaptation: Adaptation
    support: SupportSet
    alone: AnomalyOutput
    scores: NDArray[np.float64]


def _adapt(
    learner: Learner, support: SupportSet, unlabelled: UnlabelledSet, taken: NDArray[np.bool_], *, seed: int
) -> _Adapted:
    joined = support.joined_by(unlabelled.only(torch.from_numpy(taken))) if taken.any() else support
    adaptation = learner.choose(joined, seed=seed)
    alone = adaptation.head.leave_one_out(joined)
    others = unlabelled.only(torch.from_numpy(~taken)).levels
    scores = np.empty(len(taken))
    scores[taken] = alone.image_score[support.k :].double().numpy()
    scores[~taken] = score_levels(adaptation.head, others).image_score.double().numpy()
    return _Adapted(adaptation=adaptation, support=joined, alone=alone, scores=scores)


def _limit(found: _Adapted, support: SupportSet) -> tuple[float, bool]:
    """The score up to which an unlabelled image is taken up, and whether known defects set it."""
    bulk = bulk_limit(np.concatenate([found.alone.image_score[: support.k].double().numpy(), found.scores]))
    known = found.adaptation.head.leave_one_defect_out(found.support)
    if known is None or not len(known):
        return bulk, False
    weakest_half = float(known.median())
    return min(bulk, weakest_half), weakest_half < bulk


def bulk_limit(scores: NDArray[np.float64]) -> float:
    """The score above which an image does not belong to the bulk of these, most of which are good parts'."""
    centre, width = normal_through(scores, _BULK)
    return centre + _WIDTHS * width
