"""The report: what it says, that it loads nothing, that hostile names stay text, and that a browser can work it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.bundles.facts import all_facts
from deploy.reports.kinds import kinds_table
from deploy.reports.overlay import encode_png
from deploy.reports.parts import PartCounts, PartsShown, ReportPart
from deploy.reports.report import NotJudged, write_report
from pipeline.calibration import Decision
from pipeline.errors import StorageError
from pipeline.imaging.images import UnreadableImage
from pipeline.kinds import NONE_OF_THESE, SaidKind
from pipeline.score_tail import ScoreTail
from tests.deploy.reports.report_parts import (
    HOSTILE,
    THRESHOLD,
    counts_of,
    item,
    manifest,
    picture,
    report_data,
    written,
)
from tests.parts.chromium import open_page


def test_a_p_value_that_is_the_last_one_told_may_be_rarer(tmp_path: Path) -> None:
    tail = ScoreTail(rates=(0.5, 0.01), scores=(0.3, 1.2))
    page = written(tmp_path, report_data([0.3, 1.2, 1.7], manifest=manifest(threshold=replace(THRESHOLD, tail=tail))))
    assert page.text.count("p 0.01 or rarer") == 2
    assert page.text.count("p 0.5 ") == 1


def test_the_page_says_what_the_run_found(tmp_path: Path) -> None:
    bad = UnreadableImage(Path("cam1/torn.png"), None, "expected a whole PNG, got half of one: copy it again")
    data = report_data([0.2, 0.5, 0.85, 1.0, 1.7], unreadable=[bad], notes=["3 images were scored before."])
    page = written(tmp_path, data)
    assert page.source.startswith("<!doctype html>")
    for sentence in (
        "plant/line-7",
        "2026-03-01 06:30 UTC, 2 min 05 s",
        "cpu, 2 threads",
        "78.3 images/s",
        "✕ REJECT 2 33.3% of the images",
        "? REVIEW 1 16.7% of the images",
        "✓ PASS 2 33.3% of the images",
        "! UNREADABLE 1",
        "cam1/torn.png",
        "expected a whole PNG, got half of one: copy it again",
        "3 images were scored before.",
        "REJECT ≥ 1",
        "REVIEW ≥ 0.8",
        "Most alike: good image 2",
        "2 (1 with a mask)",
        "64 × 64 RGB, white level 4095",
        "leave-one-out, on 40 scores",
        "mpdd/metal_plate",
        "image auroc 0.973",
    ):
        assert sentence in page.text, sentence
    cards = [tag for tag in page.all("li") if "data-score" in tag]
    decisions = ["PASS", "PASS", "REVIEW", "REJECT", "REJECT"]
    assert [card["data-decision"] for card in cards] == decisions
    assert "Not shown" not in page.text


def test_the_page_tells_every_fact_of_the_bundle(tmp_path: Path) -> None:
    text = written(tmp_path, report_data([])).text
    for fact in all_facts(manifest()):
        assert f"{fact.name} {fact.value}" in text, fact.key


def test_the_lines_stand_where_the_bundles_threshold_is(tmp_path: Path) -> None:
    stricter = replace(THRESHOLD, reject=0.4, review=0.4)
    page = written(tmp_path, report_data([], manifest=manifest(threshold=stricter)))
    assert "REJECT ≥ 0.4" in page.text
    assert "REVIEW ≥" not in page.text  # review equal to reject: there is no such region


def test_what_was_decided_is_told_and_nothing_is_decided_anew(tmp_path: Path) -> None:
    scores = {Decision.PASS: np.array([0.2, 1.7]), Decision.REVIEW: np.array([0.1]), Decision.REJECT: np.array([])}
    counts = counts_of(scores, not_judged=2, unreadable=20_001)
    named = [NotJudged("a.png", Decision.REVIEW, "the model gave no finite score")]
    data = report_data([], counts=counts, not_judged=named, gallery=[item("b.png", 0.1)])
    page = written(tmp_path, replace(data, scores=scores))
    for sentence in (
        "✕ REJECT 0 0.0% of the images",
        "? REVIEW 3 0.0% of the images",
        "✓ PASS 2 0.0% of the images",
        "! UNREADABLE 20,001 files, listed below",
        "? NOT JUDGED 2 without a finite score: 2 of the REVIEW, listed below",
        "a.png REVIEW the model gave no finite score",
        "PASS: 1 image from 1.6",
        "1 more are not listed here.",
        "20,001 more are not listed here.",
        "Not shown, to keep this page small: 1 REVIEW, 1 PASS.",
    ):
        assert sentence in page.text, sentence


def test_the_page_loads_nothing_and_its_policy_names_its_own_code(tmp_path: Path) -> None:
    data = report_data([0.1, 1.4], support=[picture(50), encode_png(np.zeros((4, 4, 3), np.uint8))])
    page = written(tmp_path, data)
    sources = [attributes["src"] for attributes in page.all("img") if "src" in attributes]
    assert len(sources) == 2 * 4 + 2
    for source in sources:
        assert re.match(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+$", source or "")
    assert not page.all("link") and not page.all("iframe") and not page.all("form")
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|localStorage", page.source)
    for _, attributes in page.tags:
        assert "style" not in attributes  # the policy would ignore it
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(
        tag["content"] or "" for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for code in page.code.values():
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_every_picture_and_control_has_a_name_for_screen_readers(tmp_path: Path) -> None:
    page = written(tmp_path, report_data([0.1, 1.4], support=[picture(50)]))
    for picture_tag in page.all("img"):
        assert "alt" in picture_tag
        assert picture_tag["alt"] or (picture_tag.get("id") or "").startswith("large")  # the script fills these
    views = [button for button in page.all("button") if button.get("class") == "view"]
    assert [button["aria-label"] for button in views] == ["Enlarge cam1/part_000.png", "Enlarge cam1/part_001.png"]
    assert page.all("html")[0]["lang"] == "en"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    bad = UnreadableImage(Path(HOSTILE), None, HOSTILE)
    data = report_data(
        [1.2],
        gallery=[replace(item("x", 1.2), name=HOSTILE, good_label=HOSTILE)],
        unreadable=[bad],
        manifest=manifest(line=HOSTILE),
        device=HOSTILE,
        source=HOSTILE,
        notes=[HOSTILE],
        files=["a b&c.csv"],
    )
    page = written(tmp_path, data)
    assert len(page.all("script")) == 1
    assert not [tag for tag in page.all("img") if tag.get("src") == "x"]
    assert HOSTILE not in page.source
    assert page.text.count(HOSTILE) >= 6
    assert {"href": "a%20b%26c.csv"} in page.all("a")


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    name = "teil_\udcfc.png"  # what Python makes of a Latin-1 name on disk
    bad = UnreadableImage(Path(name), None, "expected an image, got nothing: look at it")
    assert "teil_\\xfc.png" in written(tmp_path, report_data([], unreadable=[bad])).text


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    scores = np.concatenate([np.full(5000, 0.3), np.full(30, 0.9), np.full(7, 1.5)])
    data = report_data([1.5, 0.3], scores=scores, files=["results.csv", "results.json"])
    text = written(tmp_path, data).text
    assert "Not shown, to keep this page small: 6 REJECT, 30 REVIEW, 4,999 PASS." in text
    assert "Every image is in results.csv and results.json ." in text
    bad = [UnreadableImage(Path(f"{i}.png"), None, "expected an image, got none: look") for i in range(503)]
    assert "3 more are not listed here." in written(tmp_path, report_data([0.5], unreadable=bad)).text


def test_a_run_without_a_single_image_has_a_page(tmp_path: Path) -> None:
    text = written(tmp_path, report_data([])).text
    assert "No image was scored in this run." in text
    assert "No images to show." in text


def test_a_report_replaces_an_older_one_and_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, report_data([0.5]))
    assert "old" not in path.read_text(encoding="utf-8")[:10]
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(StorageError, match="expected an existing path"):
        write_report(tmp_path / "nowhere" / "report.html", report_data([0.5]))
    with pytest.raises(ValueError, match="expected finite scores of shape"):
        write_report(path, report_data([], scores=[math.nan]))
    with pytest.raises(ValueError, match="expected JPEG or PNG bytes"):
        write_report(path, report_data([0.5], support=[b"GIF89a"]))


# In a browser


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_filters_sorts_and_enlarges_without_loading_anything(tmp_path: Path, scheme: str) -> None:
    scores = [0.2, 0.85, 1.7, 1.2]
    gallery = [item(f"part_{index}.png", score) for index, score in enumerate(scores)]
    gallery.append(replace(item("x", 0.6), name=HOSTILE))
    path = tmp_path / "report.html"
    write_report(path, report_data([*scores, 0.6], gallery=gallery, notes=[HOSTILE]))
    with open_page(color_scheme=scheme, viewport={"width": 390, "height": 800}) as page:
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())

        def names() -> list[str | None]:
            return [card.get_attribute("data-name") for card in page.locator("#gallery > li:visible").all()]

        assert names() == ["part_2.png", "part_3.png", "part_1.png", HOSTILE, "part_0.png"]
        page.uncheck("input[value=PASS]")
        assert names() == ["part_2.png", "part_3.png", "part_1.png"]
        assert page.inner_text("#showing") == "Showing 3 of 5 images"
        page.select_option("#sort", "low")
        assert names() == ["part_1.png", "part_3.png", "part_2.png"]
        page.fill("#search", "PART_3")
        assert names() == ["part_3.png"]
        page.fill("#search", "")
        page.locator(".view:visible").first.focus()
        page.keyboard.press("Enter")
        assert page.inner_text("#large-name") == "part_1.png"
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#large-name") == "part_3.png"
        assert page.locator("#large-heat").is_visible()
        page.keyboard.press("h")
        assert not page.locator("#large-heat").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#large").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # nothing runs off a narrow screen
        assert page.title() == "plant/line-7: 2 rejected, 1 to review"  # a name that ran as code would have changed it
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 22, 27)") == (scheme == "dark")
        assert complaints == []
        assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]


def test_known_kinds_of_defects_stand_beside_what_was_said(tmp_path: Path) -> None:
    found = [*[("crack", "crack")] * 3, ("crack", NONE_OF_THESE), ("stain", "crack"), ("dent", NONE_OF_THESE)]
    shown = [
        replace(item("a.png", 1.4), kind=SaidKind("crack", 0.81)),
        replace(item("b.png", 1.2), kind=SaidKind(NONE_OF_THESE, None)),
    ]
    text = written(tmp_path, report_data([], gallery=shown, kinds=kinds_table(("crack", "stain"), found))).text
    for sentence in (
        "Of 6 flagged images the kind is known, by their folder or a person's word; 3 were given it.",
        "Known kind crack stain none of these crack 3 · 1 stain 1 · · dent · · 1",
        "Kind: crack 81%",
        "Kind: none of these",
    ):
        assert sentence in text, sentence
    assert "Kinds of defects" not in written(tmp_path, report_data([1.4], kinds=kinds_table(("a", "b"), []))).text


def test_the_table_of_parts_has_their_kinds_where_there_are_any(tmp_path: Path) -> None:
    def part(name: str, kind: SaidKind | None) -> ReportPart:
        return ReportPart(
            part=name,
            decision=Decision.REJECT,
            worst_view="top",
            image_path=f"{name}_top.png",
            score=1.5,
            p_value=None,
            views_seen=("top", "side"),
            reason=None,
            kind=kind,
        )

    def told(*parts: ReportPart) -> str:
        counts = PartCounts(decisions={**dict.fromkeys(Decision, 0), Decision.REJECT: len(parts)}, incomplete=0)
        return written(tmp_path, report_data([1.5], parts=PartsShown(counts, parts))).text

    text = told(part("a", SaidKind("<crack>", 0.81)), part("b", SaidKind(NONE_OF_THESE, None)), part("c", None))
    for expected in (
        "Worst view Score p Kind Views seen Why",
        "a ✕ REJECT top 1.5 – <crack> 81% top, side",
        "b ✕ REJECT top 1.5 – none of these top, side",
        "c ✕ REJECT top 1.5 – top, side",
    ):
        assert expected in text
    assert "Worst view Score p Views seen Why" in told(part("c", None))
