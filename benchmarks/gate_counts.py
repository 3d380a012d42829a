"""What more looks do to the gate's rules that count images: those of a look alone, or of all looks together.

Part of `benchmarks.gate_looks`, which has the figures.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.tables import table
from deploy.bundles.packs import Deployment
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.gate_checks import CHANCE_OF_FALSE_REJECTS
from flows.gate.gate_rules import CHANCE_OF_MISSES, checks_of
from flows.gate.paired_scores import Pair, Pairs, Said
from pipeline.calibration import Decision
from pipeline.paired_comparison import chance_of_more
from tests.parts.plant import write_versions

LOOKS, GOOD_PARTS, DEFECTS, RANKED = 11, 200, 60, 40
"""Looks at a version; held-back good and defective parts that are counted, and of each that are ranked."""
_DRAWS, _MANY_DRAWS, _RANKED_DRAWS = 1000, 3000, 200
_WAYS = {"this look's images": False, "all looks' images": True}
Passes = Callable[[tuple[int, ...]], bool]
"""Whether a version goes through, where so many images are of each sort."""


@cache
def versions() -> tuple[Deployment, Deployment]:
    """A candidate whose threshold is to flag 5 % of good parts, and a live version."""
    with tempfile.TemporaryDirectory() as folder:
        registry = write_versions(Path(folder) / "home")
        return registry.deployment("mvtec/pill", "v2"), registry.deployment("mvtec/pill", "v1")


def looked_at(
    passes: Passes,
    shares: Sequence[float],
    images: int,
    replaced: float,
    *,
    together: bool,
    draws: int = _DRAWS,
) -> list[int | None]:
    """Of each draw, the look from 0 on at which a version goes through by images that are counted; None: at none of
    eleven.

    Args:
        passes: the gate's rule, of how many images are of each sort; the last sort is of all others.
        shares: of all images, 0..1, that are of each sort but the last.
        images: how many either version is asked about.
        replaced: of the images, before each look, 0..1.
        together: the images of all looks count, as the gate counts them; False: those of this look alone.
        draws: how many.
    """
    sorts, through = np.cumsum(shares), list[int | None]()
    for draw in range(draws):
        rng = np.random.default_rng([0, draw])  # the first look is the same one, however many follow
        drawn = np.searchsorted(sorts, rng.random(images), side="right")
        counts = np.bincount(drawn, minlength=len(shares) + 1)
        for look in range(LOOKS):
            seen = counts if together else np.bincount(drawn, minlength=len(shares) + 1)
            if passes(tuple(seen.tolist())):
                through.append(look)
                break
            places = rng.permutation(images)[: round(replaced * images)]
            drawn[places] = np.searchsorted(sorts, rng.random(len(places)), side="right")
            counts = counts + np.bincount(drawn[places], minlength=len(shares) + 1)
        else:
            through.append(None)
    return through


def ranked(replaced: float, worse: float, *, together: bool, draws: int = _RANKED_DRAWS) -> list[int | None]:
    """As `looked_at`, of a version that ranks images worse: what it says of defective ones lies so much lower."""
    both, through = versions(), list[int | None]()
    for draw in range(draws):
        rng = np.random.default_rng([0, draw])
        now = [_scores_of(rng, RANKED, 0.0, 0.0), _scores_of(rng, RANKED, 2.0, worse)]
        seen = list(now)
        for look in range(LOOKS):
            if _holds(both, _scored(*(seen if together else now))) is None:
                through.append(look)
                break
            count = round(replaced * RANKED)
            others = [_scores_of(rng, count, 0.0, 0.0), _scores_of(rng, count, 2.0, worse)]
            now = [np.concatenate([old[count:], new]) for old, new in zip(now, others, strict=True)]
            seen = [np.concatenate([old, new]) for old, new in zip(seen, others, strict=True)]
        else:
            through.append(None)
    return through


def _scores_of(
    rng: np.random.Generator, count: int, middle: float, worse: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(count, 2): the candidate's and the live version's, which agree on half of what makes images differ."""
    common, own = rng.normal(size=(count, 1)), rng.normal(size=(count, 2))
    return middle + (common + own) * math.sqrt(0.5) - [worse, 0.0]


def _scored(good: np.ndarray, defective: np.ndarray) -> Pairs:
    return Pairs(
        pairs=tuple(
            _pair(number, kind, candidate, live)
            for kind, scores in ((Kind.GOOD, good), (Kind.DEFECT, defective))
            for number, (candidate, live) in enumerate(scores.tolist())
        ),
        left_out={},
    )


@cache
def held_back_passes(kind: Kind, counts: tuple[int, ...]) -> bool:
    """Whether it goes through by the gate's rule, of held-back images that speak against it alone, against the live
    version alone, and others.
    """
    most = CHANCE_OF_FALSE_REJECTS if kind is Kind.GOOD else CHANCE_OF_MISSES
    return chance_of_more(counts[0], counts[1]) > most


def _pair(number: int, kind: Kind, candidate: float, live: float) -> Pair:
    return Pair(
        image=EvidenceImage(name="", path=Path(), sha256=f"{kind.value}{number}", kind=kind),
        candidate=Said(score=candidate, decision=Decision.PASS),
        live=Said(score=live, decision=Decision.PASS),
    )


def _holds(versions: tuple[Deployment, Deployment], scored: Pairs) -> str | None:
    return next((check.problem for check in checks_of(*versions, scored) if check.problem), None)


def through_share(looks: Sequence[int | None], *, after_hold: int | None = None) -> str:
    """A table's cell: how many go through at the first look, and at any; or of those that the first one held, after so
    many more.
    """
    held = [look for look in looks if look != 0]
    if after_hold is None:
        return f"{1 - len(held) / len(looks):.1%}, {sum(look is not None for look in looks) / len(looks):.1%}"
    return f"{sum(look is not None and look <= after_hold for look in held) / len(held):.0%}" if held else "–"


def tables_of_counts(unanswered: Passes, images: int, both: int) -> Iterator[str | Sequence[str]]:
    """What more looks do to the rules that count images, where the images of a look count alone, and together."""
    changes = (0.02, 0.1, 1.0)

    def of_production(share: float, change: float, draws: int = _DRAWS) -> list[list[int | None]]:
        shares = (share, both / images)
        return [looked_at(unanswered, shares, images, change, together=way, draws=draws) for way in _WAYS.values()]

    yield f"## Goes through at the first look, at any of eleven, where nobody answers ({_DRAWS:,} draws)"
    yield table(
        ["good parts that it alone flags", "images replaced before each look", *_WAYS],
        [
            [f"{share:.0%}", f"{change:.0%}", *(through_share(looks) for looks in of_production(share, change))]
            for share, change in itertools.product((0.05, 0.08, 0.1, 0.12), changes)
        ],
    )
    yield f"## Held at the first look by bad luck, gone through after three more, after ten ({_MANY_DRAWS:,} draws)"
    yield table(
        ["good parts that it alone flags", "images replaced before each look", *_WAYS],
        [
            [
                f"{share:.0%}",
                f"{change:.0%}",
                *(
                    ", ".join(through_share(looks, after_hold=more) for more in (3, 10))
                    for looks in of_production(share, change, draws=_MANY_DRAWS)
                ),
            ]
            for share, change in itertools.product((0.04, 0.05), (*changes[:2], 0.5, 1.0))
        ],
    )
    draws = f"{_DRAWS:,} draws, of ranking {_RANKED_DRAWS}"
    yield f"## Goes through at the first look, at any of eleven, by held-back images ({draws})"
    rows = [
        (
            f"{GOOD_PARTS} good parts, rejects {worse:.0%} that the live version passes, and it 1 % that it does not",
            partial(looked_at, partial(held_back_passes, Kind.GOOD), (worse, 0.01), GOOD_PARTS),
        )
        for worse in (0.01, 0.06, 0.08)
    ]
    rows += [
        (
            f"{DEFECTS} defective parts, misses {worse:.0%} that the live version finds, and it 1 % that it does not",
            partial(looked_at, partial(held_back_passes, Kind.DEFECT), (worse, 0.01), DEFECTS),
        )
        for worse in (0.01, 0.06, 0.1)
    ]
    yield table(
        ["held back", "images replaced before each look", *_WAYS],
        [
            [name, f"{change:.0%}", *(through_share(looks(change, together=way)) for way in _WAYS.values())]
            for name, looks in rows
            for change in changes[1:]
        ]
        + [
            [
                f"{RANKED} of each, scores of defective ones lower by {worse:g} deviations",
                f"{change:.0%}",
                *(through_share(ranked(change, worse, together=way)) for way in _WAYS.values()),
            ]
            for worse, change in itertools.product((0.0, 0.8), changes[1:])
        ],
    )
