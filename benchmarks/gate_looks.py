"""How often a version goes through the gate that should stay held, where one looks again until it does.

Run from the repository root: `python -m benchmarks.gate_looks [--write]`; minutes of one core. `--write` puts the
figures into gate_looks.md.

The rule is the gate's own (`flows.gate.production_rule`), asked once for every number of answers and of defective ones
among them. Where the images stay the same, chances are exact, by the paths that answers can take; else they are of
draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import hypergeom

from benchmarks.gate_counts import tables_of_counts, versions
from benchmarks.study import Study, options
from benchmarks.tables import table
from deploy.bundles.bundle import Bundle
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.paired_scores import Pair, Said
from flows.gate.production_rule import FlaggedImages, flagged_good_parts, production_check
from pipeline.calibration import Decision

IMAGES, CONTESTED, BOTH = 300, 60, 6
"""Of the production: looked at, flagged by the candidate alone, flagged by both versions."""
ELEVEN = tuple(range(5, CONTESTED, 5))
EACH = tuple(range(1, CONTESTED))
_CHANCE = 0.05
_DRAWS = 1000
Passes = Callable[[int, int, int], bool]
"""Whether a version goes through at a look: its number from 1 on, answers, defective ones among them."""


class GateRule:
    """The gate's rule on so many contested images; `needed`: how many defective ones explain them."""

    def __init__(self, candidate: Bundle) -> None:
        self._candidate = candidate
        self.passes, self.unanswered = cache(self._passes), cache(self._unanswered)
        self.needed = next(count for count in range(CONTESTED + 1) if self.passes(CONTESTED, count))

    def _passes(self, answers: int, defective: int) -> bool:
        return self.passes_with([Kind.DEFECT] * defective + [Kind.GOOD] * (answers - defective))

    def _unanswered(self, counts: tuple[int, ...]) -> bool:
        """Whether it goes through where nobody answers: images that it alone flags, that both flag, and others."""
        alone, both, _ = counts
        flagged = FlaggedImages(
            images=sum(counts),
            flagged=alone + both,
            flagged_by_live=both,
            more=alone,
            fewer=0,
            good=flagged_good_parts(self._candidate),
            defect_share=None,
        )
        return not flagged.holds(0)

    def passes_with(self, known: Sequence[Kind]) -> bool:
        """Whether it goes through, where so much is known of the first contested images."""
        check = production_check(_pairs(known), self._candidate, None)
        assert check is not None
        return not check.problem

    def at_any_time(self, _look: int, answers: int, defective: int) -> bool:
        """As the gate does."""
        return self.passes(answers, defective)

    def at_one_look(self, _look: int, answers: int, defective: int) -> bool:
        """With Clopper and Pearson's bound of one look, whichever it is: the gate's until this page was written."""
        return self._chance(answers, defective) <= _CHANCE

    def spent(self, look: int, answers: int, defective: int) -> bool:
        """With a share of the chance at each look, which add up to all of it."""
        return self._chance(answers, defective) <= _CHANCE * 6 / (math.pi * look) ** 2

    def _chance(self, answers: int, defective: int) -> float:
        return float(hypergeom.sf(defective - 1, CONTESTED, self.needed - 1, answers))


def _pairs(known: Sequence[Kind]) -> list[Pair]:
    kinds = [*known, *[Kind.UNLABELLED] * (IMAGES - len(known))]
    return [
        Pair(
            image=EvidenceImage(name="", path=Path(), sha256=f"{number:064x}", kind=kind, produced=True),
            candidate=Said(score=0.5, decision=Decision.REVIEW if number < CONTESTED + BOTH else Decision.PASS),
            live=Said(
                score=0.1,
                decision=Decision.REVIEW if CONTESTED <= number < CONTESTED + BOTH else Decision.PASS,
            ),
        )
        for number, kind in enumerate(kinds)
    ]


def through(passes: Passes, defective: int, looks: Sequence[int]) -> Iterator[float]:
    """Look by look, the chance that a version has gone through by then of which so many contested images are defective,
    where each look is after so many answers in all.
    """
    held, gone = {0: 1.0}, 0.0
    for answers in range(1, max(looks) + 1):
        after: dict[int, float] = {}
        for found, chance in held.items():
            share = (defective - found) / (CONTESTED - answers + 1)
            for more, of_it in ((1, share), (0, 1 - share)):
                if of_it:
                    after[found + more] = after.get(found + more, 0.0) + chance * of_it
        if answers in looks:
            look = looks.index(answers) + 1
            gone += sum(chance for found, chance in after.items() if passes(look, answers, found))
            after = {found: chance for found, chance in after.items() if not passes(look, answers, found)}
            yield gone
        held = after


def chance(passes: Passes, defective: int, looks: Sequence[int]) -> float:
    """That it has gone through after the last look."""
    return list(through(passes, defective, looks))[-1]


def answers_to_pass(passes: Passes, defective: int, looks: Sequence[int]) -> float:
    """Answers on average until it goes through; all of them where it does at no look before."""
    by_look = list(through(passes, defective, looks))
    began = [1.0, *(1 - gone for gone in by_look)]
    ends = [*looks, CONTESTED]
    return sum((one - other) * end for one, other, end in zip(began, [*began[1:], 0.0], ends, strict=True))


def with_other_images(rule: GateRule, replaced: int, draws: int) -> float:
    """The share of draws in which a version that just should stay held goes through at any of eleven looks, where five
    more images have an answer at each, and so many contested ones were replaced by others before it, good by good.
    """
    rng, gone = np.random.default_rng(0), 0
    for _ in range(draws):
        place = rng.random(CONTESTED)
        kinds = [Kind.DEFECT] * (rule.needed - 1) + [Kind.GOOD] * (CONTESTED - rule.needed + 1)
        known = np.zeros(CONTESTED, bool)
        for _ in ELEVEN:
            others = rng.permutation(CONTESTED)[:replaced]
            place[others], known[others] = rng.random(replaced), False
            order = np.argsort(place)
            known[order[~known[order]][:5]] = True
            if rule.passes_with([kinds[i] if known[i] else Kind.UNLABELLED for i in order.tolist()]):
                gone += 1
                break
    return gone / draws


@cache
def gate_rule() -> GateRule:
    """The rule, for a version whose threshold is to flag 5 % of good parts, beside one that flags 2 %."""
    return GateRule(versions()[0].bundle)


def main() -> None:
    """Print the tables; with `--write` they are the page's."""
    study = Study(__file__, options(__doc__, lines=False))
    rule = gate_rule()
    bounds = {"of one look": rule.at_one_look, "spent over looks": rule.spent, "at any time": rule.at_any_time}
    looked = {"at one look, 15": (15,), "at one look, 30": (30,), "at any of eleven": ELEVEN, "after each": EACH}
    study.publish(
        f"## Goes through, {rule.needed - 1} of {CONTESTED} defective, where {rule.needed} explain them",
        table(
            ["bound", *looked],
            [
                [name, *(f"{chance(bound, rule.needed - 1, looks):.1%}" for looks in looked.values())]
                for name, bound in bounds.items()
            ],
        ),
        "## Goes through, and rightly",
        table(
            ["defective", "bound", "at one look, 15", "at one look, 30", "answers, looked at after each five", "each"],
            [
                [
                    f"{defective} of {CONTESTED}",
                    name,
                    *(f"{chance(bound, defective, looks):.0%}" for looks in ((15,), (30,))),
                    *(f"{answers_to_pass(bound, defective, looks):.1f}" for looks in (ELEVEN, EACH)),
                ]
                for defective in (45, 50, 55, 60)
                for name, bound in bounds.items()
            ],
        ),
        f"## Goes through at any of eleven looks, where images come and go ({_DRAWS:,} draws)",
        table(
            ["contested images replaced before each look", "goes through"],
            [[f"{count} of {CONTESTED}", f"{with_other_images(rule, count, _DRAWS):.1%}"] for count in (0, 6)],
        ),
        *tables_of_counts(rule.unanswered, IMAGES, BOTH),
    )


if __name__ == "__main__":
    main()
