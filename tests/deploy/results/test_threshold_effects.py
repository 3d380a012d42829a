"""What other thresholds would have done, from rows and verdicts, on both kinds of database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.results.records import NewVerdict
from deploy.results.schema import Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.threshold_effects import Limits, ThresholdEffect, scored_contents
from pipeline.calibration import Decision
from pipeline.likeness import UNLIKE
from tests.deploy.results.result_rows import begin, scored, sha256, unreadable
from tests.parts.plant import bundle_files, make_draft

NOW = datetime.now(UTC)
WEEK_AGO = NOW - timedelta(days=7)
LINE = "mvtec/pill"


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return Registry(tmp_path / "home").add(make_draft(), bundle_files())


def add_scores(store: ResultStore, bundle: Bundle, scores: Sequence[float], *, first: int = 0) -> None:
    run = begin(store, bundle)
    store.add([scored(run, bundle, first + n, score=score)._replace(scored_at=NOW) for n, score in enumerate(scores)])


def say(store: ResultStore, number: int, verdict: Verdict, said_at: datetime = NOW) -> None:
    path = f"/images/{number}.png"
    store.add_verdicts([NewVerdict(LINE, path, sha256(number), verdict, said_at=said_at)])


def told(store: ResultStore, line: str, bundle_ids: Sequence[str], limits: Limits) -> ThresholdEffect:
    return scored_contents(store, line, bundle_ids, WEEK_AGO).effect(limits)


def effect(store: ResultStore, bundle: Bundle, reject: float, review: float) -> tuple[int, ...]:
    found = told(store, LINE, [bundle.id], Limits(reject, review))
    return (
        found.images,
        found.rejected,
        found.reviewed,
        found.good,
        found.good_rejected,
        found.defects,
        found.defects_passed,
    )


def test_a_word_that_was_taken_back_does_not_count(store: ResultStore, bundle: Bundle) -> None:
    add_scores(store, bundle, [0.5])
    say(store, 0, Verdict.GOOD)
    said = store.verdicts(LINE)[0]
    assert effect(store, bundle, 0.4, 0.4)[3:5] == (1, 1)
    back = {"line": LINE, "image_path": said.image_path, "image_sha256": sha256(0), "verdict": Verdict.GOOD}
    with store.writing_session() as session:
        session.add(VerdictRow(**back, said_at=NOW, withdraws=said.id))
    assert effect(store, bundle, 0.4, 0.4)[3:5] == (0, 0)


def test_all_thresholds_are_told_as_decisions_would_be(store: ResultStore, bundle: Bundle) -> None:
    scores = [n / 10 for n in range(30)]
    add_scores(store, bundle, scores)
    for number in (5, 12, 25):
        say(store, number, Verdict.GOOD)
    for number in (11, 29):
        say(store, number, Verdict.DEFECTIVE)
    asked = [Limits(2.0, 1.0), Limits(1.2, 1.2), Limits(2.9, 0.1), Limits(9.0, 8.0)]
    contents = scored_contents(store, LINE, [bundle.id], WEEK_AGO)
    found = [contents.effect(limits) for limits in asked]
    assert [one.limits for one in found] == asked
    for one in found:
        reject, review = one.limits.reject, one.limits.review
        assert one.images == 30
        assert one.rejected == sum(score >= reject for score in scores)
        assert one.reviewed == sum(review <= score < reject for score in scores)
        assert (one.good, one.good_rejected) == (3, sum(scores[n] >= reject for n in (5, 12, 25)))
        assert (one.defects, one.defects_passed) == (2, sum(scores[n] < review for n in (11, 29)))


def test_a_decision_that_was_not_the_scores_stays(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    unlike = scored(run, bundle, 0, score=9.0)._replace(decision=Decision.REVIEW, reason=f"{UNLIKE}: dark")
    small = scored(run, bundle, 1, score=9.0)._replace(decision=Decision.PASS, reason="no marked region covers 1%")
    not_judged = scored(run, bundle, 2)._replace(score=None, decision=Decision.REJECT, reason="no finite score")
    store.add([row._replace(scored_at=NOW) for row in (unlike, small, not_judged)])
    store.add([unreadable(run, bundle, "/images/3.png", number=3)._replace(scored_at=NOW)])
    say(store, 1, Verdict.DEFECTIVE)
    for limits in ((1.0, 0.0), (99.0, 98.0)):
        assert effect(store, bundle, *limits) == (3, 1, 1, 0, 0, 1, 1)
    levels = scored_contents(store, LINE, [bundle.id], WEEK_AGO).levels([0.01])
    assert (levels.by_share, levels.above_good, levels.lowest_defect) == ((None,), None, None)


def test_only_recent_rows_of_the_head_count_each_content_once_and_the_latest_word(
    store: ResultStore, bundle: Bundle, tmp_path
) -> None:
    twin = Registry(tmp_path / "home").add(make_draft(version="v2", reject=3.0), bundle_files())
    other = Registry(tmp_path / "home").add(make_draft(version="v3", reject=4.0), bundle_files())
    add_scores(store, bundle, [1.0, 5.0])
    add_scores(store, twin, [1.0, 5.0])
    add_scores(store, other, [7.0], first=9)
    store.add([scored(begin(store, bundle), bundle, 20, score=5.0)._replace(scored_at=WEEK_AGO - timedelta(days=1))])
    say(store, 1, Verdict.DEFECTIVE, WEEK_AGO)
    say(store, 1, Verdict.GOOD)
    found = told(store, LINE, [bundle.id, twin.id], Limits(2.0, 2.0))
    assert (found.images, found.rejected, found.good, found.good_rejected, found.defects) == (2, 1, 1, 1, 0)
    assert effect(store, bundle, 2.0, 2.0)[:2] == (2, 1)
    nothing = told(store, "another", [bundle.id], Limits(2.0, 2.0))
    assert nothing.images == nothing.rejected == 0


def test_levels_do_what_they_are_named_for(store: ResultStore, bundle: Bundle) -> None:
    scores = [1 / (n + 3) for n in range(200)]
    add_scores(store, bundle, scores)
    for number in (17, 40):
        say(store, number, Verdict.GOOD)
    for number in (60, 9):
        say(store, number, Verdict.DEFECTIVE)
    shares = [0.0, 0.005, 0.05, 0.5]
    levels = scored_contents(store, LINE, [bundle.id], WEEK_AGO).levels(shares)
    for share, level in zip(shares, levels.by_share, strict=True):
        assert level is not None
        assert effect(store, bundle, level, level)[1] == share * 200
    assert levels.above_good is not None
    assert levels.lowest_defect is not None
    assert levels.above_good == float(f"{levels.above_good:.6g}"), "it is told, and typed again"
    assert effect(store, bundle, levels.above_good, levels.above_good)[4] == 0
    assert effect(store, bundle, scores[17], scores[17])[4] == 1
    assert effect(store, bundle, levels.lowest_defect, levels.lowest_defect)[6] == 0


def test_what_is_decided_otherwise_is_named_with_words_first_then_by_score(store: ResultStore, bundle: Bundle) -> None:
    add_scores(store, bundle, [0.1, 0.4, 0.5, 0.6, 0.9])
    say(store, 1, Verdict.GOOD)
    contents = scored_contents(store, LINE, [bundle.id], WEEK_AGO)
    today, lower = Limits(0.8, 0.8), Limits(0.3, 0.3)
    paths = {row.id: row.image_path for row in store.query()}
    count, found = contents.decided_otherwise(today, lower, 9)
    assert [paths[one.result] for one in found] == [f"/images/{number}.png" for number in (1, 3, 2)]
    assert {(one.before, one.after) for one in found} == {(Decision.PASS, Decision.REJECT)}
    assert (count, contents.decided_otherwise(today, lower, 1)) == (3, (3, found[:1]))
    assert [len(contents.scores_by_decision(lower)[decision]) for decision in Decision] == [1, 0, 4]
