"""A store of 100,000 results: every page is asked of an index, and comes at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Select, insert, text
from sqlalchemy.dialects import sqlite

from deploy.bundles.registry import Registry
from deploy.bundles.verdict import AT_FIRST_LOOK
from deploy.results.production_queries import scored_content, unreadable_content
from deploy.results.schema import QuestionKind, ResultRow, ResultStatus, RunRow, Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.threshold_effects import scored_contents
from deploy.review.line_index import line_overviews
from deploy.review.questions import Asked, latest_result, next_question, open_questions, statements
from deploy.review.rates import random_answers
from deploy.review.words import PAGE, trail
from pipeline.calibration import Decision

ROWS, WORDS, SECONDS = 100_000, 5_000, 2.0
LINE, BUNDLE, NOW = "caps", "b" * 64, datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    """Two lines, in turn; of the one that is asked about every hundredth image is flagged, and half of those judged."""
    rng = np.random.default_rng(0)
    with ResultStore(tmp_path_factory.mktemp("many") / "results.sqlite") as store:
        with store.writing_session() as session:
            run = {"bundle_version": "v1", "folder": "/", "device": "cpu", "workers": 1, "host": "h", "started_at": NOW}
            for line, bundle in ((LINE, BUNDLE), ("nuts", "c" * 64)):
                session.add(RunRow(line=line, bundle_id=bundle, linewise_version="1", **run))
            session.flush()
            scores = rng.uniform(0, 1, ROWS)
            names = [bytes(name).hex() for name in rng.integers(0, 256, (ROWS, 32), np.uint8)]
            session.execute(insert(ResultRow), [row(number, scores, names) for number in range(ROWS)])
            session.execute(insert(VerdictRow), [word(number, names) for number in range(WORDS)])
        yield store


def row(number: int, scores, names) -> dict:
    score = float(scores[number])
    is_unlike = number % 1000 == 0
    decision = Decision.REJECT if score >= 0.99 else Decision.REVIEW if score >= 0.95 or is_unlike else Decision.PASS
    return {
        "run_id": 1 + number % 2,
        "line": LINE if number % 2 == 0 else "nuts",
        "bundle_id": BUNDLE if number % 2 == 0 else "c" * 64,
        "bundle_version": "v1",
        "image_path": f"/images/{number}.png",
        "image_sha256": names[number],
        "status": ResultStatus.SCORED,
        "reason": "unlike the line: dark" if is_unlike else AT_FIRST_LOOK if decision is Decision.PASS else None,
        "score": score,
        "decision": decision,
        "reject_threshold": 0.99,
        "review_threshold": 0.95,
        "overlay_path": None,
        "scored_at": NOW + timedelta(milliseconds=500 * number),
        "p_value": None,
    }


def word(number: int, names) -> dict:
    return {
        "line": LINE,
        "image_sha256": names[2 * number],
        "image_path": f"/images/{2 * number}.png",
        "verdict": Verdict.GOOD,
        "by": "Ada",
        "said_at": NOW + timedelta(seconds=number),
        "question": QuestionKind.RANDOM if number % 4 == 0 else QuestionKind.FLAGGED,
        "bundle_id": BUNDLE,
    }


ASKED = Asked(line=LINE, bundle_id=BUNDLE, reject_threshold=0.99, by="Ada", contested=["0" * 64, "1" * 64])


@pytest.mark.parametrize("kind", QuestionKind)
def test_a_question_is_found_by_an_index_in_its_order(store: ResultStore, kind: QuestionKind) -> None:
    for statement in statements(ASKED, kind):
        sql = statement.limit(1).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        with store.session() as session:
            plan = [step[-1] for step in session.execute(text(f"EXPLAIN QUERY PLAN {sql}".replace(":", r"\:")))]
        assert plan[0].startswith("SEARCH results USING INDEX "), plan
        assert ("image_sha256=?" if kind is QuestionKind.CONTESTED else "bundle_id=?") in plan[0], plan
        assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")], plan


@pytest.mark.parametrize(
    "statement",
    [
        scored_content(LINE, "0" * 64),
        unreadable_content(LINE, "0" * 64, NOW, but_by=BUNDLE),
    ],
)
def test_a_content_is_looked_up_by_an_index_of_contents(store: ResultStore, statement: Select[int]) -> None:
    sql = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with store.session() as session:
        plan = [step[-1] for step in session.execute(text(f"EXPLAIN QUERY PLAN {sql}".replace(":", r"\:")))]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH results USING"), plan
    assert "image_sha256=?" in plan[0], plan


def test_every_page_comes_at_once(store: ResultStore, tmp_path: Path) -> None:
    took: dict[str, float] = {}
    with store.session() as session:
        for name, ask in {
            "question": lambda: next_question(session, ASKED),
            "random question": lambda: next_question(session, Asked(**vars(ASKED) | {"after": QuestionKind.FLAGGED})),
            "unlike": lambda: next_question(session, Asked(**vars(ASKED) | {"after": QuestionKind.BORDERLINE})),
            "open": lambda: open_questions(session, ASKED),
            "latest": lambda: latest_result(session, LINE),
            "trail": lambda: trail(session, LINE),
            "rates": lambda: random_answers(session, LINE, BUNDLE),
            "thresholds": lambda: scored_contents(store, LINE, [BUNDLE], NOW),
        }.items():
            began = time.process_time()
            assert ask() is not None, name
            took[name] = time.process_time() - began
    began = time.process_time()
    line_overviews(store, Registry(tmp_path), NOW)
    took["index"] = time.process_time() - began
    assert max(took.values()) < SECONDS, took
    print(took)


def test_the_trail_is_paged_by_its_key_and_every_word_is_on_one_page(store: ResultStore) -> None:
    with store.session() as session:
        first = trail(session, LINE)
        plan_of = text(
            "EXPLAIN QUERY PLAN SELECT * FROM verdicts WHERE line = 'caps' AND (said_at, id) < ('2026-03-01', 9) "
            "ORDER BY said_at DESC, id DESC LIMIT 50"
        )
        assert "ix_verdicts_line_said_at" in session.execute(plan_of).all()[0][-1]
        ids, page = [], first
        while page:
            ids += [item.word.id for item in page]
            last = page[-1].word
            began = time.process_time()
            page = trail(session, LINE, (last.said_at, last.id))
            assert time.process_time() - began < SECONDS
    assert len(first) == PAGE
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == WORDS


def test_the_contents_of_the_random_questions_are_in_the_order_of_their_hash(store: ResultStore) -> None:
    with store.session() as session:
        asked = Asked(**vars(ASKED) | {"after": QuestionKind.FLAGGED})
        question = next_question(session, asked)
        assert question is not None
        known = {row.image_sha256 for row in store.verdicts(LINE) if row.question is QuestionKind.RANDOM}
        every = session.execute(text(f"SELECT image_sha256 FROM results WHERE bundle_id = '{BUNDLE}'")).scalars()
        assert question.result.image_sha256 == min(set(every) - known)
