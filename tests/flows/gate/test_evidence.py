"""What people said of images, as the gate reckons with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.results.records import NewVerdict
from deploy.results.schema import QuestionKind, Verdict
from deploy.results.store import ResultStore
from flows.gate.evidence import find_evidence
from flows.gate.request import ComparedOn
from pipeline.promise import counted_interval
from pipeline.settings import Settings, load_settings

LINE = "caps"
ASKED = 60
BEGAN = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(tmp_path / "home")
    settings.ensure_home()
    return settings


def word(number: int, verdict: Verdict, minute: int, question: QuestionKind | None = None) -> NewVerdict:
    """Of an image by its number."""
    said_at = BEGAN + timedelta(minutes=minute)
    return NewVerdict(LINE, f"/images/{number}.png", f"{number:064d}", verdict, said_at=said_at, question=question)


def share(settings: Settings) -> float | None:
    return find_evidence(LINE, ComparedOn(), [], settings).defect_share


def test_an_answer_that_was_corrected_counts_once_as_the_last_word(settings: Settings) -> None:
    with ResultStore(settings.database) as store:
        store.add_verdicts(word(number, Verdict.GOOD, 0, QuestionKind.RANDOM) for number in range(ASKED))
        store.add_verdicts([word(ASKED, Verdict.DEFECTIVE, 1)])  # nobody drew it
    assert share(settings) == counted_interval(0, ASKED)[1]
    with ResultStore(settings.database) as store:
        store.add_verdicts(word(number, Verdict.DEFECTIVE, 2) for number in range(20))
        store.add_verdicts(word(number, Verdict.GOOD, 3, QuestionKind.RANDOM) for number in range(5))
    assert share(settings) == counted_interval(15, ASKED)[1]


def test_of_a_few_answers_no_share_is_told(settings: Settings) -> None:
    with ResultStore(settings.database) as store:
        store.add_verdicts(word(n % 40, Verdict.GOOD, n, QuestionKind.RANDOM) for n in range(2 * 40))
    assert share(settings) is None
