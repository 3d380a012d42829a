"""The threshold's page without a script: looked at by its form, set by its other one, refused where it must be."""

from __future__ import annotations

import re

import pytest

from deploy.bundles.registry import Registry
from pipeline.calibration import Threshold
from tests.deploy.review.asked_plant import HERE, AskedPlant
from tests.deploy.scoring_plant import LINE


def live(asked: AskedPlant) -> Threshold:
    return Registry(asked.plant.root / "home").live(LINE).manifest.threshold


def row(page: str, name: str) -> list[str]:
    (found,) = re.findall(rf'<tr class="{name}">(.*?)</tr>', page, re.DOTALL)
    return [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", found)]


def test_a_form_looks_and_another_sets(asked: AskedPlant) -> None:
    browser = asked.browser(name=None)
    scores = [result.score for result in asked.store.query() if result.score is not None and not result.reason]
    page = browser.see("/threshold", line=LINE, reject="0.3", review="0.25")
    assert row(page, "tried")[:2] == ["0.3", "0.25"]
    assert row(page, "tried")[2].startswith(f"{sum(score >= 0.3 for score in scores)} of {len(scores)}")
    assert row(page, "today")[2].startswith(f"{sum(score >= 0.6 for score in scores)} of {len(scores)}")
    again = browser.send(page, "/threshold", by="Ada", why="too much passed")
    assert row(again, "today") == row(page, "tried")
    assert (live(asked).reject, live(asked).review) == (0.3, 0.25)
    assert "Ada" in browser.see("/name", line=LINE), "who set it is remembered"


def test_a_form_that_nobody_changed_tries_no_other_threshold(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.see("/threshold", line=LINE, reject="0.612345678", review="0.412345678")
    page = browser.send(page, "/threshold", by="Ada", why="many digits")
    (shown,) = re.findall(r'id="reject".*? value="(.*?)"', page)
    assert shown == "0.612346"
    assert 'class="tried"' not in browser.see("/threshold", line=LINE, reject=shown)
    moved = browser.see("/threshold", line=LINE, reject=shown, review="0.3")
    assert 'name="reject" value="0.612345678"' in moved


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"reject": "high"}, "are numbers"),
        ({"reject": "nan"}, "are numbers"),
        ({"reject": "1e308", "review": "-1e308"}, "are numbers"),
        ({"reject": "0.3", "review": "0.4"}, "REVIEW is at most REJECT"),
    ],
)
def test_what_is_no_threshold_is_told_and_todays_is_shown(asked: AskedPlant, typed: dict[str, str], words: str) -> None:
    page = asked.browser().see("/threshold", line=LINE, **typed)
    assert words in page
    assert 'class="tried"' not in page
    assert re.search("primary. disabled", page.replace('"', "."))


def test_nothing_is_set_by_another_page_without_a_reason_or_of_a_version_that_is_live_no_more(
    asked: AskedPlant,
) -> None:
    browser, before = asked.browser(), live(asked)
    page = browser.see("/threshold", line=LINE, reject="0.3")
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page[page.index('id="set"') :]))
    good = fields | {"by": "Ada", "why": "holes"}
    for sent, status in (
        (good | {"seal": "0" * 64}, 409),
        (good | {"version": "another"}, 409),
        (good | {"why": " "}, 422),
        (good | {"by": ""}, 422),
        (good | {"reject": str(before.reject), "review": str(before.review)}, 422),
    ):
        answer = browser.client.post("/threshold", data=sent)
        assert (answer.status_code, "Nothing was set" in answer.text) == (status, True)
    elsewhere = browser.client.post("/threshold", data=good, headers={"Origin": "http://evil.example"})
    assert elsewhere.status_code == 403
    assert live(asked) == before
    assert browser.client.post("/threshold", data=good, headers={"Origin": HERE}).status_code == 200
    late = browser.client.post("/threshold", data=good)
    assert (late.status_code, "went live meanwhile" in late.text) == (422, True)
