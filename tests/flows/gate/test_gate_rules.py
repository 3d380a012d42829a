"""By which counts a candidate is held: two versions of a line, and what they would say of made-up images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.gate_rules import checks_of
from flows.gate.paired_scores import Pair, Pairs, Said, Times
from pipeline.calibration import Decision
from tests.parts.plant import write_versions

GOOD, DEFECT, UNLABELLED = Kind.GOOD, Kind.DEFECT, Kind.UNLABELLED
PASS, REVIEW, REJECT = Decision.PASS, Decision.REVIEW, Decision.REJECT
SCORES = {PASS: 0.1, REVIEW: 0.5, REJECT: 0.9}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return write_versions(tmp_path_factory.mktemp("plant") / "home")


def version(registry: Registry, name: str) -> Deployment:
    return registry.deployment("mvtec/pill", name)


def pairs(*groups: tuple[Kind, int, Decision, Decision | None], times: Sequence[Times] = ()) -> Pairs:
    """Groups of so many images of a kind, with the candidate's and the live version's decision."""
    made: list[Pair] = []
    for kind, count, candidate, live in groups:
        for _ in range(count):
            name = f"{len(made)}.png"
            produced, sha256 = kind is UNLABELLED, f"{len(made):064x}"
            image = EvidenceImage(name=name, path=Path(name), sha256=sha256, kind=kind, produced=produced)
            before = None if live is None else said(live)
            made.append(Pair(image=image, candidate=said(candidate), live=before))
    return Pairs(pairs=tuple(made), left_out={}, times=tuple(times))


def said(decision: Decision) -> Said:
    return Said(score=SCORES[decision], decision=decision)


def timed(*groups: tuple[int, float, float | None]) -> Sequence[Times]:
    """Groups of so many images with the seconds that either version took."""
    return [Times(candidate=after, live=before) for count, after, before in groups for _ in range(count)]


def problems(registry: Registry, scored: Pairs, *, alone: bool = False) -> Sequence[str]:
    live = None if alone else version(registry, "v1")
    return [check.problem for check in checks_of(version(registry, "v2"), live, scored) if check.problem]


@pytest.mark.parametrize(
    ("scored", "held"),
    [
        (pairs((GOOD, 20, PASS, PASS)), ""),
        (pairs((GOOD, 4, REJECT, PASS), (GOOD, 20, PASS, PASS)), ""),
        (pairs((GOOD, 5, REJECT, PASS), (GOOD, 20, PASS, PASS)), "it rejects 5 of 25 held-back good parts"),
        (pairs((GOOD, 5, REJECT, PASS), (GOOD, 3, PASS, REJECT)), ""),
        (pairs((DEFECT, 1, PASS, REJECT), (DEFECT, 9, REJECT, REJECT)), ""),
        (pairs((DEFECT, 2, PASS, REVIEW), (DEFECT, 9, REJECT, REJECT)), "it misses 2 of 11 held-back defects"),
        (pairs((DEFECT, 6, REVIEW, REJECT)), ""),
        (pairs((UNLABELLED, 6, REVIEW, PASS), (UNLABELLED, 94, PASS, PASS)), ""),
        (pairs((UNLABELLED, 12, REVIEW, PASS), (UNLABELLED, 88, PASS, PASS)), "it flags 12 of 100 images"),
        (pairs((UNLABELLED, 8, REVIEW, PASS), (UNLABELLED, 10, REJECT, REJECT), (UNLABELLED, 82, PASS, PASS)), ""),
        (pairs((UNLABELLED, 6, REVIEW, PASS), (UNLABELLED, 494, PASS, PASS)), ""),
        (pairs((UNLABELLED, 50, PASS, REJECT), (UNLABELLED, 50, PASS, PASS)), ""),
        (pairs((GOOD, 5, PASS, PASS), times=timed((15, 0.03, 0.01))), "it takes 3.0 times as long for an image"),
        (pairs((GOOD, 5, PASS, PASS), times=timed((15, 0.019, 0.01))), ""),
        (pairs((GOOD, 5, PASS, PASS), times=timed((12, 0.03, 0.01), (3, 0.01, 0.01))), ""),
        (pairs((GOOD, 5, PASS, PASS), times=timed((8, 0.5, 0.01), (7, 0.01, 0.01))), ""),
        (pairs(), "there is no image to compare on that neither version has learned"),
    ],
)
def test_a_candidate_is_held_by_more_than_chance(registry: Registry, scored: Pairs, held: str) -> None:
    found = problems(registry, scored)
    assert len(found) == bool(held)
    assert not held or found[0].startswith(held)


def test_more_flagged_images_are_explained_by_the_defects_that_people_found(registry: Registry) -> None:
    scored = pairs((UNLABELLED, 12, REVIEW, PASS), (UNLABELLED, 88, PASS, PASS))
    held, explained = (
        checks_of(version(registry, "v2"), version(registry, "v1"), scored, defect_share=share) for share in (0.01, 0.1)
    )
    (problem,) = [check.problem for check in held if check.problem]
    assert "the 5.0% of good parts that its threshold is set for and the 1.0% of defects that people found" in problem
    assert not [check.problem for check in explained if check.problem]


def test_what_was_asked_as_the_versions_differ_on_it_is_no_count_of_false_rejects(registry: Registry) -> None:
    rejected = pairs((GOOD, 8, REJECT, PASS), (GOOD, 20, PASS, PASS))
    chosen = [replace(pair, image=replace(pair.image, contested=pair.changed)) for pair in rejected.pairs]
    assert problems(registry, rejected)
    assert not problems(registry, replace(rejected, pairs=tuple(chosen)))


def test_a_worse_ranking_holds(registry: Registry) -> None:
    scored = pairs((GOOD, 12, REVIEW, PASS), (DEFECT, 12, REVIEW, REJECT))
    assert [problem.partition(":")[0] for problem in problems(registry, scored)] == ["it ranks held-back images worse"]


@pytest.mark.parametrize(
    ("scored", "held"),
    [
        (pairs(), ""),
        (pairs((GOOD, 2, REJECT, None), (GOOD, 2, PASS, None), (DEFECT, 4, PASS, None)), ""),
        (pairs((GOOD, 8, REJECT, None)), "it rejects 8 of 8 held-back good parts, more than 10% of them"),
        (pairs((DEFECT, 8, PASS, None)), "it misses 8 of 8 held-back defects, more than half of them"),
    ],
)
def test_with_nothing_live_a_candidate_is_looked_at_alone(registry: Registry, scored: Pairs, held: str) -> None:
    found = problems(registry, scored, alone=True)
    assert len(found) == bool(held)
    assert not held or found[0].startswith(held)


@pytest.mark.parametrize(
    ("resident", "held"),
    [
        ((300, 100), "it takes 3.0 times as much memory (at most 2)"),
        ((200, 100), None),
        ((None, 100), None),
        ((300, None), None),
        ((300,), None),
    ],
)
def test_memory_is_what_was_measured(registry: Registry, resident: tuple[int | None, ...], held: str | None):
    checks = checks_of(
        version(registry, "v2"), version(registry, "v1"), pairs((GOOD, 20, PASS, PASS)), resident=resident
    )
    assert [check.problem for check in checks if check.problem] == ([] if held is None else [held])


@pytest.mark.parametrize(
    "scored",
    [
        pairs((GOOD, 5, REJECT, PASS), (GOOD, 20, PASS, PASS)),
        pairs((DEFECT, 2, PASS, REVIEW), (DEFECT, 9, REJECT, REJECT)),
        pairs((UNLABELLED, 12, REVIEW, PASS), (UNLABELLED, 88, PASS, PASS)),
        pairs((GOOD, 12, REVIEW, PASS), (DEFECT, 12, REVIEW, REJECT)),
    ],
    ids=["false rejects", "missed defects", "production", "ranking"],
)
def test_whatever_counts_images_tells_which_look_at_it_this_is(registry: Registry, scored: Pairs) -> None:
    versions = version(registry, "v2"), version(registry, "v1")
    (first,) = problems(registry, scored)
    (third,) = [check.problem for check in checks_of(*versions, scored, looks_before=2) if check.problem]
    told = " (look 3 at it: the images of all looks count, so that more of them, or answers, decide)"
    assert third == f"{first}{told}"
