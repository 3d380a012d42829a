"""The person of the plant's day at a real page."""

from __future__ import annotations

from collections import Counter

from benchmarks.plant_day.people import Person
from deploy.results.schema import Verdict
from tests.deploy.review.asked_plant import AskedPlant, served
from tests.deploy.scoring_plant import LINE


def test_a_person_says_what_the_images_show_until_it_is_enough_and_no_question_is_left(asked: AskedPlant):
    bright = {row.id: (row.score or 0) > 0.5 for row in asked.store.query()}
    of_result = {row.image_sha256: row.id for row in asked.store.query()}
    with served(asked) as address, Person(address, "Ada", bright.__getitem__) as person:
        assert person.answer(LINE, lambda sofar: sofar.total() >= 5).total() == 5
        words = asked.words()
        assert len(words) == 5
        rest = person.answer(LINE, lambda sofar: sofar["random"] >= 100)
    every = asked.words(overruled=True)
    assert rest.total() == len(every) - 5
    assert rest + Counter(word.question for word in words) == Counter(word.question for word in every)
    assert {word.by for word in every} == {"Ada"}
    assert all((word.verdict is Verdict.DEFECTIVE) == bright[of_result[word.image_sha256]] for word in every)
    assert {word.image_sha256 for word in every} == set(of_result), "every image was asked about at random at last"
