"""Which questions come, in which order, and what an answer leaves in the store."""

from __future__ import annotations

import re

from deploy.bundles.contested_images import note_contested
from deploy.bundles.registry import Registry
from deploy.results.schema import QuestionKind, ResultRow, Verdict
from deploy.results.verdict_files import verdict_on
from pipeline.kinds import NONE_OF_THESE
from tests.deploy.review.asked_plant import AskedPlant, asked_kind, asked_result
from tests.deploy.scoring_plant import LINE, score_folder
from tests.parts.plant import bundle_files, head_graph, make_draft, write_image

FLAGGED, BORDERLINE, RANDOM = QuestionKind.FLAGGED, QuestionKind.BORDERLINE, QuestionKind.RANDOM


def test_kinds_come_in_turn_and_each_asks_about_what_it_says(asked: AskedPlant) -> None:
    browser, seen = asked.browser(), []
    page = browser.see()
    for _ in range(4):
        seen.append((asked_kind(page), asked_result(page)))
        page = browser.answer(page, "good")
    by_score = sorted(asked.store.query(), key=lambda row: row.score or 0.0)
    by_content = sorted(asked.store.query(), key=lambda row: row.image_sha256 or "")
    assert [kind for kind, _ in seen] == ["flagged", "random", "borderline", "flagged"], "none is unlike the line"
    assert seen[0][1] == by_score[-1].id, "the highest score"
    assert seen[1][1] == by_content[0].id, "a random one, that is the first by its content"
    unasked = [row for row in by_score if row.id not in (seen[0][1], seen[1][1])]
    nearest = min(unasked, key=lambda row: abs((row.score or 0) - row.reject_threshold))
    assert seen[2][1] == nearest.id
    words = asked.words()
    assert {(word.question, word.by, word.bundle_id) for word in words} == {
        (kind, "Ada", asked.plant.bundle.id) for kind in (FLAGGED, BORDERLINE, RANDOM)
    }


def test_a_random_question_is_also_about_images_whose_word_is_known(asked: AskedPlant) -> None:
    """Else the random ones would be those that nobody flagged, and the rates too low."""
    browser = asked.browser()
    page, random = browser.see(), []
    for _ in range(40):
        if "No question is left" in page:
            break
        if asked_kind(page) == RANDOM:
            random.append(asked_result(page))
        page = browser.answer(page, "good")
    contents = sorted(asked.store.query(), key=lambda row: row.image_sha256 or "")
    assert random == [row.id for row in contents], "every image, each once, in an order that has nothing to do with it"


def test_a_defects_kind_and_place_are_kept_and_offered_again(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.answer(browser.see(), "defective", defect=" scratch  <b>", box="3,4,20,10")
    assert '<option value="scratch &lt;b&gt;">' in page
    (word,) = asked.words()
    assert (word.verdict, word.kind, word.box) == (Verdict.DEFECTIVE, "scratch <b>", [3, 4, 20, 10])
    browser.answer(page, "good", defect="scratch", box="3,4,20,10")
    assert (asked.words()[0].kind, asked.words()[0].box) == (None, None), "a good part has neither"
    for box in ("90,4,20,10", "-1,0,5,5", "1,2,0,4", "nan,1,2,3", "1,2,3", "inf,0,1,1"):
        browser.answer(browser.see(), "defective", box=box)
        assert asked.words()[0].box is None, box


def test_the_likely_kind_of_a_flagged_image_is_told(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.see()
    assert 'class="kind"' not in page
    for kind, probability, told in (("scratch <b>", 0.836, "Likely"), (NONE_OF_THESE, None, "Unlike every known kind")):
        with asked.store.writing_session() as session:
            row = session.get_one(ResultRow, asked_result(page))
            row.kind, row.kind_probability = kind, probability
        (said,) = re.findall(r'<p class="kind">(.*?)</p>', browser.see())
        assert said.startswith(told)
        assert ("<b><bdi>scratch &lt;b&gt;</bdi></b>, 84%" in said) == (probability is not None)


def test_a_skipped_question_is_not_put_to_the_same_person_again(asked: AskedPlant) -> None:
    ada, bo = asked.browser("Ada"), asked.browser("Bo")
    page = ada.see()
    first = asked_result(page)
    seen = set()
    while "No question is left" not in page:
        seen.add(asked_result(page))
        page = ada.answer(page, "skip")
    assert len(seen) == 12
    assert not asked.words(withdrawn=True)
    assert asked_result(bo.see()) == first
    assert asked_result(ada.send(page, "/undo")), "the last skip is taken back"


def test_undo_takes_back_the_last_word_and_an_earlier_one_counts_again(asked: AskedPlant) -> None:
    ada = asked.browser("Ada")
    page = ada.see()
    result = asked_result(page)
    ada.answer(page, "good")
    again = ada.see("/line", line=LINE, result=result)
    assert "Ada said good" in again
    ada.answer(again, "defective")
    assert [word.verdict for word in asked.words()] == [Verdict.DEFECTIVE]
    back = ada.send(ada.see(), "/undo")
    assert asked_result(back) == result
    assert [word.verdict for word in asked.words()] == [Verdict.GOOD]
    back = ada.send(back, "/undo")
    assert (asked_result(back), asked_kind(back)) == (result, FLAGGED), "it is asked as it was asked before"
    assert asked.words() == []
    assert [word.withdraws is not None for word in asked.words(withdrawn=True)] == [True, True, False, False]
    assert asked_result(ada.send(back, "/undo")) == result, "nothing is left to take back, which changes nothing"
    assert len(asked.words(withdrawn=True)) == 4
    assert "taken back" in ada.see("/words", line=LINE)


def test_nobody_takes_back_what_another_one_said(asked: AskedPlant) -> None:
    ada, bo = asked.browser("Ada"), asked.browser("Bo")
    ada.answer(ada.see(), "good")
    bo.send(bo.see(), "/undo")
    assert len(asked.words()) == 1


def test_images_left_for_later_come_back(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.see()
    first = asked_result(page)
    later = browser.see("/line", line=LINE, aside=str(first))
    assert asked_kind(later) == FLAGGED
    assert asked_result(later) != first
    assert f'value="{first}"' in later, "an answer leaves it aside, too"
    assert asked_result(browser.see()) == first


def test_what_a_held_version_alone_flags_is_asked_about_until_somebody_said_a_word(asked: AskedPlant) -> None:
    passed = asked.result(0)
    assert passed.image_sha256 is not None
    note_contested(asked.plant.root / "home", LINE, "v2", [passed.image_sha256, "f" * 64])
    browser = asked.browser()
    page = browser.see()
    assert (asked_kind(page), asked_result(page)) == (QuestionKind.CONTESTED, passed.id)
    assert "a version that is held flags it" in page
    assert asked_kind(browser.answer(page, "good")) == FLAGGED
    assert [word.question for word in asked.words()] == [QuestionKind.CONTESTED]


def test_a_contested_image_that_the_live_version_flags_by_now_is_an_ordinary_question(asked: AskedPlant) -> None:
    flagged = asked.result(11)
    assert flagged.image_sha256 is not None
    note_contested(asked.plant.root / "home", LINE, "v2", [flagged.image_sha256])
    assert asked_kind(asked.browser().see()) == FLAGGED


def test_a_contested_image_that_an_earlier_version_scored_is_asked_about_too(asked: AskedPlant) -> None:
    """After a promotion most of the production that the gate looks at has no result of the live version."""
    registry, earlier = Registry(asked.plant.root / "home"), asked.result(11)
    assert earlier.image_sha256 is not None
    graph = registry.live(LINE).manifest.backbone.onnx_sha256
    draft = make_draft(line=LINE, version="v2", onnx_sha256=graph, review=0.4, reject=0.6)
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph()})
    registry.promote(LINE, "v2")
    later = write_image(asked.plant.root / "later" / "12.png", brightness=10, seed=12, size=96)
    score_folder(registry.live(LINE), asked.plant.engine, later.parent, asked.store, workers=1)
    asked.store.add_verdicts([verdict_on(later, LINE, Verdict.GOOD)])
    note_contested(asked.plant.root / "home", LINE, "v3", [earlier.image_sha256])
    browser = asked.browser()
    page = browser.see()
    assert (asked_kind(page), asked_result(page)) == (QuestionKind.CONTESTED, earlier.id)
    score_folder(registry.live(LINE), asked.plant.engine, asked.plant.images, asked.store, workers=1)
    assert asked_kind(browser.see()) == FLAGGED, "the live version flags it, too"
