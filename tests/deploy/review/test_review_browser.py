"""The review page in a real browser: keys, the mouse, a tablet, a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.bundles.registry import Registry
from deploy.results.schema import Verdict
from tests.deploy.review.asked_plant import AskedPlant, served
from tests.deploy.scoring_plant import LINE
from tests.parts.chromium import open_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SIZES = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


def result_shown(page: Any) -> int:
    page.wait_for_function("() => document.getElementById('plain')?.naturalWidth > 0")
    return int(page.locator("#answer input[name=result]").input_value())


def press(page: Any, key: str) -> None:
    """Press a key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def test_keys_say_good_defective_skip_and_undo(asked: AskedPlant, tmp_path: Path) -> None:
    rows = {row.id: row for row in asked.store.query()}
    with served(asked) as address, open_page(viewport={"width": 1440, "height": 900}) as page:
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.screenshot(path=tmp_path / "index.png")
        page.locator("h2 a", has_text=LINE).click()
        page.fill("#name", "Ada")
        page.keyboard.press("Enter")

        first = result_shown(page)
        page.keyboard.press("h")
        assert page.locator("img.heat").is_visible()
        page.screenshot(path=tmp_path / "heat.png")
        press(page, "g")
        second = result_shown(page)
        drag(page, 0.25, 0.25, 0.5, 0.75)
        page.fill("#defect", "scratch")
        page.screenshot(path=tmp_path / "box.png")
        page.keyboard.press("Escape")
        page.locator("#stage").hover()
        press(page, "d")
        third = result_shown(page)
        assert len({first, second, third}) == 3
        press(page, "s")
        fourth = result_shown(page)
        assert fourth != third
        press(page, "u")
        assert result_shown(page) == third
        press(page, "u")
        assert result_shown(page) == second
        words = asked.words()
        assert [(word.image_sha256, word.verdict) for word in words] == [(rows[first].image_sha256, Verdict.GOOD)]
        press(page, "d")
        result_shown(page)
        press(page, "ArrowRight")
        later = result_shown(page)
        page.go_back()
        assert result_shown(page) != later
        page.goto(f"{address}/words?line={LINE}")
        page.screenshot(path=tmp_path / "words.png", full_page=True)
        assert page.locator("tr.gone").count() == 2, "what was taken back, and that it was"
        assert not [problem for problem in problems if "204" not in problem]

    words = asked.words(withdrawn=True)
    assert {word.by for word in words} == {"Ada"}
    drawn = next(word for word in words if word.kind == "scratch")
    assert drawn.box is not None
    assert drawn.box == pytest.approx([24, 24, 24, 48], abs=2), "in pixels of the image, which is shown larger"
    assert {word.verdict for word in asked.words()} == {Verdict.GOOD, Verdict.DEFECTIVE}


@pytest.mark.parametrize("device", SIZES)
def test_all_of_a_question_is_on_the_screen_and_touch_answers_it(
    asked: AskedPlant, tmp_path: Path, device: str
) -> None:
    width, height = SIZES[device]
    with served(asked) as address, open_page(viewport={"width": width, "height": height}, has_touch=True) as page:
        page.goto(f"{address}/name?line={LINE}")
        page.fill("#name", "Bo")
        page.locator("button", has_text="Go on").tap()
        result_shown(page)
        page.locator("#heat-button").tap()
        page.screenshot(path=tmp_path / f"{device}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("good", "defective"):
            box = page.locator(f"button[value={name}]").bounding_box()
            assert box["height"] >= 44, "a finger's"
            assert box["y"] + box["height"] <= height
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        stage = page.locator("#stage").bounding_box()
        assert stage["width"] * stage["height"] > 0.4 * width * height, "most of it is the picture"
        with page.expect_navigation():
            page.locator("button[value=defective]").tap()
        result_shown(page)
    assert [(word.verdict, word.by) for word in asked.words()] == [(Verdict.DEFECTIVE, "Bo")]
    assert re.fullmatch("flagged", str(asked.words()[0].question))


def test_the_threshold_is_moved_seen_and_set(asked: AskedPlant, tmp_path: Path) -> None:
    registry = Registry(asked.plant.root / "home")
    with served(asked) as address, open_page(viewport={"width": 1280, "height": 900}) as page:
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.locator("a", has_text="Threshold").first.click()
        before = page.locator("tr.today td").nth(2).inner_text()
        page.locator("#slider").fill("0.3")
        page.wait_for_selector("tr.tried")
        rejected = page.locator("tr.tried td").nth(2).inner_text()
        assert rejected != before
        page.wait_for_function("() => [...document.querySelectorAll('.changed img')].every((one) => one.naturalWidth)")
        page.screenshot(path=tmp_path / "threshold.png", full_page=True)
        page.fill("#by", "Ada")
        page.fill("#why", "too much passed")
        with page.expect_navigation():
            page.locator("#set button").click()
        assert page.locator("tr.today td").nth(2).inner_text() == rejected, "it is live, and does what was told"
        page.set_viewport_size({"width": 390, "height": 844})
        page.screenshot(path=tmp_path / "threshold_phone.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not problems
    manifest = registry.live(LINE).manifest
    record = manifest.lineage.set_by_hand
    assert record is not None
    assert (record.by, record.why, manifest.threshold.reject) == (
        "Ada",
        "too much passed",
        pytest.approx(0.3, abs=0.05),
    )


def drag(page: Any, left: float, top: float, right: float, bottom: float) -> None:
    """Drag over the picture, whose sides are 0 to 1; it lies in the middle of its stage, as large as that is."""
    stage = page.locator("#stage").bounding_box()
    side = min(stage["width"], stage["height"])
    x, y = stage["x"] + (stage["width"] - side) / 2, stage["y"] + (stage["height"] - side) / 2
    page.mouse.move(x + left * side, y + top * side)
    page.mouse.down()
    page.mouse.move(x + right * side, y + bottom * side, steps=4)
    page.mouse.up()
