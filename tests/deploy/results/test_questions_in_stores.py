"""Questions, words and rates of the review page, in SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="the extra `pages` is not installed")

from deploy.bundles.bundle import write_bundle
from deploy.results.schema import QuestionKind, Verdict
from deploy.results.store import ResultStore
from deploy.review.questions import Asked, decisions_since, latest_result, next_question, open_questions
from deploy.review.rates import random_answers
from deploy.review.words import kinds_of, say, skip, take_back, trail
from pipeline.calibration import Decision
from pipeline.likeness import UNLIKE
from tests.deploy.results.result_rows import begin, scored
from tests.parts.plant import bundle_files, make_draft

LINE = "mvtec/pill"


def test_a_round_of_questions_is_the_same_in_every_database(store: ResultStore, tmp_path: Path) -> None:
    """Scores 0.2 to 2.4; REVIEW from 1, REJECT from 2; the fifth is unlike the line, the last has no score."""
    bundle = write_bundle(tmp_path / "bundle", make_draft(), bundle_files())
    run = begin(store, bundle)
    rows = [scored(run, bundle, number, score=0.2 * number) for number in range(1, 13)]
    rows[4] = rows[4]._replace(decision=Decision.REVIEW, reason=f"{UNLIKE}: dark")
    rows.append(scored(run, bundle, 13)._replace(score=None, decision=Decision.REVIEW, reason="no finite score"))
    store.add(rows)
    asked = Asked(line=LINE, bundle_id=bundle.id, reject_threshold=2.0, by="Ada")

    seen = []
    for _ in range(5):
        with store.session() as session:
            question = next_question(session, asked)
        assert question is not None
        seen.append((question.kind, Path(question.result.image_path).stem))
        if len(seen) == 2:
            say(store, question, Verdict.DEFECTIVE, by="Ada", kind="scratch", box=(1, 2, 3, 4))
        else:
            skip(store, question, by="Ada")
    assert seen == [
        (QuestionKind.FLAGGED, "12"),
        (QuestionKind.RANDOM, "1"),
        (QuestionKind.BORDERLINE, "10"),
        (QuestionKind.UNLIKE, "5"),
        (QuestionKind.FLAGGED, "11"),
    ]
    with store.session() as session:
        assert kinds_of(session, LINE) == ["scratch"]
        answers = random_answers(session, LINE, bundle.id)
        assert (dict(answers.table), answers.skipped) == ({(Verdict.DEFECTIVE, Decision.PASS): 1}, 0)
        assert open_questions(session, asked) == 5, "of nine flagged ones, without the four that Ada skipped"
        latest = latest_result(session, LINE)
        assert latest is not None
        assert decisions_since(session, LINE, latest.scored_at) == {"PASS": 4, "REVIEW": 6, "REJECT": 3}

    backs = [take_back(store, LINE, by="Ada") for _ in range(6)]
    kinds = [None if back is None else back.kind for back in backs]
    assert kinds == [kind for kind, _ in reversed(seen)] + [None]
    with store.session() as session:
        later, first = trail(session, LINE)
        assert (first.withdrawn_at, later.word.withdraws) == (later.word.said_at, first.word.id)
        assert first.result is not None
        assert trail(session, LINE, (later.word.said_at, later.word.id))[0].word.id == first.word.id
        assert trail(session, LINE, (first.word.said_at, first.word.id)) == []
        assert random_answers(session, LINE, bundle.id).count == 0
