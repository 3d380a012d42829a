"""What people say of the images that only a held version flags decides whether it goes through."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gate_looks import CONTESTED, EACH, ELEVEN, answers_to_pass, chance, gate_rule
from deploy.bundles.bundle import Bundle
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.paired_scores import Pair, Said
from flows.gate.production_rule import contested, production_check
from pipeline.calibration import Decision
from pipeline.promise import counted_interval
from tests.parts.plant import write_versions

GOOD, DEFECT, UNSAID = Kind.GOOD, Kind.DEFECT, Kind.UNLABELLED
IMAGES, ONLY_CANDIDATE, BOTH = 300, 60, 6
MOST_GOOD = next(good for good in range(ONLY_CANDIDATE) if counted_interval(good + 1 + BOTH, IMAGES)[0] > 0.05 + 0.02)
"""So many good parts among those that only the candidate flags are explained: by 5 % that its threshold is to flag, as
the version's REVIEW says, and the 2 % that the live version flags."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_versions(tmp_path_factory.mktemp("plant") / "home").deployment("mvtec/pill", "v2").bundle


def produced(kinds: Sequence[Kind], *, both: int = BOTH, images: int = IMAGES) -> list[Pair]:
    """Images of the production: those that only the candidate flags, of which so much is known, in the order of the
    questions, those that both versions flag, and others; as they came, in another order.
    """
    flags = [Decision.REVIEW] * (len(kinds) + both) + [Decision.PASS] * (images - len(kinds) - both)
    known = [*kinds, *[UNSAID] * (images - len(kinds))]
    made = [
        Pair(
            image=EvidenceImage(name="", path=Path(), sha256=f"{number:064x}", kind=kind, produced=True),
            candidate=Said(score=0.5, decision=decision),
            live=Said(score=0.1, decision=Decision.PASS if number < len(kinds) else decision),
        )
        for number, (decision, kind) in enumerate(zip(flags, known, strict=True))
    ]
    random.Random(0).shuffle(made)
    return made


def problem(bundle: Bundle, answers: Sequence[Kind], *, share: float | None = None, **others: int) -> str:
    """What is said of a candidate after so many first answers; the others are unsaid."""
    kinds = [*answers, *[UNSAID] * (ONLY_CANDIDATE - len(answers))]
    check = production_check(produced(kinds, **others), bundle, share)
    assert check is not None
    return check.problem


def needed(told: str) -> int:
    found = re.search(r"about (\d+) (?:more )?answers decide", told)
    assert found is not None, told
    return int(found[1])


def test_as_many_defective_ones_as_it_asks_for_let_it_through_and_one_fewer_does_not(bundle: Bundle) -> None:
    told = problem(bundle, [])
    assert told.startswith("it flags 66 of 300 images of the production, the live version 6 (by chance in ")
    assert "only it flags 60 of them: say on the review page what they show" in told
    enough = needed(told)
    assert 3 < enough < 12, "a sample of them, not all"
    assert not problem(bundle, [DEFECT] * enough)
    almost = problem(bundle, [DEFECT] * (enough - 1))
    assert f"{enough - 1} of {enough - 1} that people spoke of are defective so far" in almost
    assert "about 1 more answers decide" in almost


def test_a_version_that_flags_most_of_the_production_as_the_live_one_does_is_held(bundle: Bundle) -> None:
    """As one that was adapted from another line's images, beside one that the line's images have left."""
    check = production_check(produced([], both=240), bundle, None)
    assert check is not None
    assert check.problem == (
        "it flags 240 of 300 images of the production, more than half of them whatever the luck, the live version 240: "
        "neither knows what is good there"
    )
    known = production_check(produced([], both=240), bundle, 0.85)
    assert known is not None
    assert not known.problem, "so much may be defective, people say"


def test_a_version_that_flags_most_of_the_production_but_less_than_the_live_one_goes_through(bundle: Bundle) -> None:
    fewer = [replace(pair, candidate=pair.live, live=pair.candidate) for pair in produced([UNSAID] * 30, both=200)]
    check = production_check(fewer, bundle, None)
    assert check is not None
    assert not check.problem


@pytest.mark.parametrize("answers", [10, 30, ONLY_CANDIDATE])
def test_a_version_whose_images_are_good_stays_held_whatever_it_flags(bundle: Bundle, answers: int) -> None:
    told = problem(bundle, [GOOD] * answers)
    assert told.endswith(
        f"of the 60 that only it flags, 0 of {answers} that people spoke of are defective, which does not explain them "
        "either"
    )
    few = production_check(produced([GOOD] * 19, images=200, both=0), bundle, None)
    assert few is not None
    assert few.problem, "hardly more than its threshold explains, and every one of them good"


def test_with_an_answer_on_each_the_good_ones_alone_are_judged(bundle: Bundle) -> None:
    for good, held in ((MOST_GOOD, False), (MOST_GOOD + 1, True)):
        answers = [*[GOOD] * good, *[DEFECT] * (ONLY_CANDIDATE - good)]
        random.Random(1).shuffle(answers)
        assert bool(problem(bundle, answers)) is held, good


def test_answers_that_were_not_asked_for_in_turn_are_no_sample(bundle: Bundle) -> None:
    """As where somebody speaks of the defects that they found, of the highest scores, or of what is easy to say."""
    assert not problem(bundle, [DEFECT] * 25)
    told = problem(bundle, [*[UNSAID] * 20, *[DEFECT] * 25])
    assert needed(told) > 3
    assert "25 of 25 that people spoke of are defective so far" in told


def test_one_in_ten_may_be_skipped_and_counts_as_what_it_may_be(bundle: Bundle) -> None:
    assert not problem(bundle, [UNSAID, *[DEFECT] * 24])
    assert problem(bundle, [UNSAID, DEFECT, UNSAID, UNSAID, *[DEFECT] * 21])
    good = [GOOD] * (MOST_GOOD - 3)
    defective = [DEFECT] * (ONLY_CANDIDATE - len(good) - 6)
    assert problem(bundle, [*[UNSAID] * 6, *defective, *good]), "the six may be good"
    assert not problem(bundle, [*[DEFECT] * 6, *defective, *good])


def test_the_defects_that_people_found_at_random_are_not_counted_twice(bundle: Bundle) -> None:
    half = [*[DEFECT] * 30, *[GOOD] * 30]
    random.Random(2).shuffle(half)
    told = problem(bundle, half, share=0.08)
    assert "the 8.0% of defects that people found" in told
    assert told.endswith("30 of 60 that people spoke of are defective, which does not explain them either")
    assert not problem(bundle, [DEFECT] * ONLY_CANDIDATE, share=0.01)
    assert not problem(bundle, [GOOD] * ONLY_CANDIDATE, share=0.2), "it was explained without them"


def draws(good: int, answers: int, times: int) -> Iterator[list[Kind]]:
    rng = random.Random(good)
    for _ in range(times):
        shown = [*[GOOD] * good, *[DEFECT] * (ONLY_CANDIDATE - good)]
        rng.shuffle(shown)
        yield shown[:answers]


@pytest.mark.parametrize("answers", [8, 15, 30])
def test_luck_lets_hardly_any_version_through_that_would_be_held_after_all_answers(
    bundle: Bundle, answers: int
) -> None:
    """The bound is of one in twenty: so often at most, within three standard deviations of so many draws."""
    times = 150
    through = sum(not problem(bundle, drawn) for drawn in draws(MOST_GOOD + 1, answers, times))
    assert through <= times * 0.05 + 3 * (times * 0.05 * 0.95) ** 0.5
    few_good = sum(not problem(bundle, drawn) for drawn in draws(MOST_GOOD // 4, 30, 20))
    assert few_good > 10, "and most go through of which few are good"


def test_looking_again_until_it_goes_through_is_no_likelier_to_succeed_than_one_look_was() -> None:
    """Where one more defective image would let it through rightly, so that it comes nearest to going through."""
    rule = gate_rule()
    almost = rule.needed - 1
    assert chance(rule.at_one_look, almost, ELEVEN) > 0.13, "as with a bound of one look"
    once = max(chance(rule.at_one_look, almost, (answers,)) for answers in ELEVEN)
    assert chance(rule.at_any_time, almost, ELEVEN) <= chance(rule.at_one_look, almost, (15,)) <= once <= 0.05
    assert chance(rule.at_any_time, almost, EACH) <= 0.05
    assert answers_to_pass(rule.at_any_time, CONTESTED - 5, EACH) < 15, "and what should go through does"


def test_questions_come_in_an_order_that_nothing_decides_that_they_show(bundle: Bundle) -> None:
    asked = contested(produced([UNSAID] * ONLY_CANDIDATE))
    assert [int(pair.image.sha256, 16) for pair in asked] == list(range(ONLY_CANDIDATE))


def test_images_that_nobody_can_be_asked_about_any_more_come_last_and_are_not_asked_for(bundle: Bundle) -> None:
    def gone(count: int, answers: Sequence[Kind] = ()) -> list[Pair]:
        made = produced([*answers, *[UNSAID] * (ONLY_CANDIDATE - len(answers))])
        return [replace(pair, image=replace(pair.image, gone=int(pair.image.sha256, 16) < count)) for pair in made]

    assert [int(pair.image.sha256, 16) for pair in contested(gone(20, [DEFECT] * 5))][:6] == [0, 1, 2, 3, 4, 20]
    some = production_check(gone(20), bundle, None)
    assert some is not None
    assert needed(some.problem) == needed(problem(bundle, [])), "those that are there are a sample of all"
    few = production_check(gone(ONLY_CANDIDATE - 2), bundle, None)
    assert few is not None
    assert few.problem.endswith(
        "only it flags 60 of them, and too many of the others are gone for answers to decide: run the gate again once "
        "there is more of the production"
    )
