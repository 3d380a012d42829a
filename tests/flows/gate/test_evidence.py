"""What people said of images, as the gate reckons with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.bundles.registry import Registry
from deploy.results.records import NewVerdict
from deploy.results.schema import QuestionKind, Verdict
from deploy.results.store import ResultStore
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage, find_evidence
from flows.gate.request import ComparedOn
from pipeline.promise import counted_interval
from pipeline.settings import Settings, load_settings
from tests.deploy.results.result_rows import begin, scored, sha256
from tests.parts.plant import write_plant

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


def write_rows(settings: Settings, numbers: Iterable[int]) -> None:
    """Images of the production whose contents come in the order of their numbers."""
    registry = Registry(settings.home)
    bundle = (registry if LINE in registry.lines() else write_plant(settings.home, line=LINE)).live(LINE)
    with ResultStore(settings.database) as store:
        run, now = begin(store, bundle), datetime.now(UTC)
        store.add(scored(run, bundle, number)._replace(scored_at=now) for number in numbers)


def produced(settings: Settings, most: int) -> dict[int, EvidenceImage]:
    images = find_evidence(LINE, ComparedOn(most_images=most), [], settings).images
    return {int(image.sha256, 16): image for image in images if image.produced}


def test_the_sample_of_the_production_stays_while_more_of_it_comes(settings: Settings) -> None:
    write_rows(settings, range(10, 200))
    before = produced(settings, 50)
    assert list(before) == list(range(10, 60)), "by content, that says nothing of what they show"
    write_rows(settings, [3, *range(200, 400)])
    assert list(produced(settings, 50)) == [3, *range(10, 59)]


def test_what_people_say_of_the_production_takes_nothing_out_of_its_sample(settings: Settings) -> None:
    """Else a version that flags good parts would go through as soon as people said of each that it is good."""
    write_rows(settings, range(10, 60))
    with ResultStore(settings.database) as store:
        store.add_verdicts(hex_word(n, Verdict.GOOD, QuestionKind.CONTESTED) for n in range(10, 15))
        store.add_verdicts(hex_word(n, Verdict.DEFECTIVE, QuestionKind.CONTESTED) for n in range(15, 17))
        store.add_verdicts([hex_word(16, Verdict.DEFECTIVE, QuestionKind.RANDOM), hex_word(17, Verdict.GOOD)])
        store.add_verdicts([hex_word(99, Verdict.GOOD, QuestionKind.CONTESTED), hex_word(98, Verdict.GOOD)])
    sample = produced(settings, 300)
    assert list(sample) == list(range(10, 60))
    kinds = [sample[number].kind for number in range(10, 19)]
    assert kinds == [*[Kind.GOOD] * 5, *[Kind.DEFECT] * 2, Kind.GOOD, Kind.UNLABELLED]
    assert [number for number, image in sample.items() if image.contested] == [10, 11, 12, 13, 14, 15]
    others = {int(i.sha256, 16) for i in find_evidence(LINE, ComparedOn(), [], settings).images if not i.produced}
    assert others == {98}, "what was contested says nothing beyond the sample"


def hex_word(number: int, verdict: Verdict, question: QuestionKind | None = None) -> NewVerdict:
    return NewVerdict(LINE, f"/images/{number}.png", sha256(number), verdict, question=question)
