"""The report: what it says, that it loads nothing, that hostile names stay text, and that a browser can work it."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.bundles.manifest import (
    BackboneRecord,
    BundleManifest,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    SupportRecord,
)
from deploy.reports.gallery import Gallery, GalleryItem, build_item
from deploy.reports.histogram import histogram
from deploy.reports.overlay import RGB, encode_jpeg, encode_png
from deploy.reports.report import ReportData, ReportRow, write_csv, write_json, write_report
from pipeline.calibration import Decision, Threshold
from pipeline.errors import StorageError
from pipeline.features import BackboneSpec, FeatureLevel
from pipeline.imaging.images import PreprocessSpec, UnreadableImage

THRESHOLD = Threshold(
    reject=1.0,
    review=0.8,
    pixel=0.9,
    method="leave-one-out",
    sample_count=40,
    target_false_reject_rate=0.01,
    expected_false_reject_rate=0.0,
)
HOSTILE = "a\"'><script>document.title='owned'</script><img src=x onerror=document.title='owned'>.png"


def manifest(line: str = "plant/line-7", threshold: Threshold = THRESHOLD) -> BundleManifest:
    spec = BackboneSpec(
        name="tf_efficientnet_lite0",
        weights_sha256="a" * 64,
        weights_source="a package",
        weights_licence="Apache-2.0",
        height=64,
        width=64,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        levels=(FeatureLevel(stride=8, channels=4, height=8, width=8),),
        groups=(),
        fingerprint="0123456789abcdef",
    )
    return BundleManifest(
        line=line,
        version="v3",
        linewise_version="0.1.0",
        learner=LearnerRecord(name="maml", config={"steps": 5}),
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint, onnx_sha256="b" * 64),
        spec=spec,
        preprocess=PreprocessSpec(height=64, width=64, white_level=4095),
        support=SupportRecord(good=("c" * 64,) * 4, defects=("d" * 64,) * 2, masks=1),
        threshold=threshold,
        metrics={"image_auroc": 0.973},
        parity=ParityRecord(max_score_error=3e-6, max_map_error=4e-6, tolerance=1e-4, images=8),
        lineage=LineageRecord(training_lines=("mpdd/metal_plate",), parent="v2", seed=5),
        files={"head.onnx": "e" * 64, "card.md": "f" * 64},
    )


def picture(level: int, side: int = 24) -> bytes:
    return encode_jpeg(np.full((side, side, 3), level, dtype=np.uint8))


def item(name: str, score: float) -> GalleryItem:
    level = int(min(max(score, 0), 2) * 100)
    return GalleryItem(
        name=name,
        score=score,
        decision=THRESHOLD.decide(score),
        image=picture(level),
        overlay=picture(255 - level),
        worst_patch=picture(10),
        good_patch=picture(20),
        good_label="good image 2",
    )


def report_data(shown: list[float], /, **changes: Any) -> ReportData:
    gallery = [item(f"cam1/part_{index:03d}.png", score) for index, score in enumerate(shown)]
    data = ReportData(
        manifest=manifest(),
        started_at=datetime(2026, 3, 1, 6, 30, tzinfo=UTC),
        seconds=125.0,
        device="cpu, 2 threads",
        images_per_second=78.34,
        source="/data/today",
        scores=np.array(shown, dtype=np.float32),
        gallery=gallery,
    )
    return replace(data, **changes)


class Page(HTMLParser):
    """Every tag with its attributes, the text outside style and script, and their content."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.texts: list[str] = []
        self.code: dict[str, str] = {"style": "", "script": ""}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.code:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.code:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.code[self.inside[-1]] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def written(tmp_path: Path, data: ReportData) -> Page:
    write_report(tmp_path / "report.html", data)
    return Page(tmp_path / "report.html")


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


def test_another_threshold_than_the_bundles_decides_when_given(tmp_path: Path) -> None:
    stricter = replace(THRESHOLD, reject=0.4, review=0.4)
    page = written(tmp_path, report_data([0.2, 0.5, 1.7], threshold=stricter, gallery=[]))
    assert "✕ REJECT 2" in page.text
    assert "REJECT ≥ 0.4" in page.text
    assert "REVIEW ≥" not in page.text  # review equal to reject: there is no such region


def test_a_float32_score_is_counted_as_the_scorer_decided_it(tmp_path: Path) -> None:
    score = np.float32(0.9)  # a little below 0.9; compared in float32 it would count as at the threshold
    threshold = replace(THRESHOLD, reject=0.9, review=0.9)
    assert threshold.decide(float(score)) is Decision.PASS
    data = report_data([], scores=np.array([score]), threshold=threshold)
    assert "✓ PASS 1 100.0%" in written(tmp_path, data).text


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
    assert "teil_\\udcfc.png" in written(tmp_path, report_data([], unreadable=[bad])).text


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
        write_report(path, report_data([], scores=np.array([math.nan])))
    with pytest.raises(ValueError, match="expected JPEG or PNG bytes"):
        write_report(path, report_data([0.5], support=[b"GIF89a"]))


# Histogram


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4), max_size=60),
    st.floats(-1e3, 1e3),
    st.floats(0, 100),
    st.booleans(),
)
def test_the_histogram_counts_every_score_under_its_decision(scores, reject, gap, on_threshold):
    threshold = replace(THRESHOLD, reject=reject, review=reject - gap)
    values = np.array([*scores, *([threshold.reject, threshold.review] if on_threshold else [])])
    drawn = histogram(values, threshold)
    told: Counter[Decision] = Counter()
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= 100.02
        assert bar.height > 0
        side = bar.x + bar.width / 2 - drawn.reject.at
        assert side > 0 if bar.decision is Decision.REJECT else side < 0  # the limit is a bin's edge
        match = re.match(r"\w+: ([\d,]+) image", bar.label)
        assert match
        told[bar.decision] += int(match[1].replace(",", ""))
    assert told == Counter(threshold.decide(float(value)) for value in values)
    assert drawn.axis.low < threshold.review
    assert drawn.axis.high > threshold.reject
    places = [tick.at for tick in drawn.score_ticks]
    assert len(places) >= 2
    assert places == sorted(set(places))
    assert drawn.overflow == (values > drawn.axis.high).sum()


def test_one_far_outlier_does_not_flatten_the_histogram():
    values = np.concatenate([np.linspace(0.4, 0.7, 200), [1e6]])
    drawn = histogram(values, THRESHOLD)
    assert drawn.overflow == 1
    assert len({bar.x for bar in drawn.bars}) > 5
    assert drawn.bars[-1].decision is Decision.REJECT
    assert drawn.axis.place(1e6) == 100.0


# Gallery


def offer_all(gallery: Gallery, scores: list[float]) -> int:
    built = 0

    def build(index: int, score: float) -> GalleryItem:
        nonlocal built
        built += 1
        return GalleryItem(name=str(index), score=score, decision=THRESHOLD.decide(score), image=b"", overlay=b"")

    for index, score in enumerate(scores):
        gallery.offer(score, THRESHOLD.decide(score), lambda i=index, s=score: build(i, s))
    return built


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 2), max_size=60), st.integers(0, 8), st.integers(0, 4), st.integers(0, 4))
def test_the_gallery_keeps_the_worst_and_a_few_passes(scores, flagged, near, by_chance):
    gallery = Gallery(max_flagged=flagged, near_passes=near, random_passes=by_chance)
    built = offer_all(gallery, scores)
    items = gallery.items()
    assert built <= len(scores)
    assert [entry.score for entry in items] == sorted((entry.score for entry in items), reverse=True)
    assert len({entry.name for entry in items}) == len(items)
    shown = [entry.score for entry in items if entry.decision is not Decision.PASS]
    assert shown == sorted((s for s in scores if s >= THRESHOLD.review), reverse=True)[:flagged]
    passes = [entry.score for entry in items if entry.decision is Decision.PASS]
    closest = sorted((s for s in scores if s < THRESHOLD.review), reverse=True)
    assert passes[: len(closest[:near])] == closest[:near]
    assert min(near, len(closest)) <= len(passes) <= near + by_chance


def test_the_gallery_builds_few_pictures_of_many_images():
    scores = np.random.default_rng(0).uniform(0, 2, size=20_000).tolist()
    assert offer_all(Gallery(), scores) < 2500


def test_every_pass_has_the_same_chance():
    seen: Counter[str] = Counter()
    for seed in range(600):
        gallery = Gallery(near_passes=0, random_passes=5, seed=seed)
        offer_all(gallery, [0.1] * 20)
        seen.update(entry.name for entry in gallery.items())
    assert sum(seen.values()) == 3000
    assert all(100 < seen[str(index)] < 200 for index in range(20))  # 150 each, 4.7 standard deviations


def test_an_item_shows_the_worst_cell_beside_the_good_patch_it_was_compared_with():
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[48:56, 8:16] = (255, 0, 0)  # cell (6, 1) of 8 x 8
    good = np.full((64, 64, 3), 90, dtype=np.uint8)
    good[16:24, 32:40] = (0, 0, 255)  # cell (2, 4)
    anomaly_map = np.zeros((16, 16), dtype=np.float32)
    anomaly_map[13, 2] = 2.0  # lies in cell (6, 1) of the coarser grid
    nearest = np.zeros((8, 8), dtype=np.int64)
    nearest[6, 1] = 7
    sources = np.zeros((10, 4), dtype=np.int64)
    sources[7] = (2, -1, 2, 4)
    asked: list[tuple[int, int]] = []

    def view(image: int, augmentation: int) -> RGB:
        asked.append((image, augmentation))
        return good

    common: dict[str, Any] = {
        "name": "part",
        "score": 2.0,
        "decision": Decision.REJECT,
        "pixels": pixels,
        "anomaly_map": anomaly_map,
        "pixel_threshold": 1.0,
    }
    built = build_item(**common, nearest=nearest, bank_sources=sources, support_view=view)
    assert asked == [(2, -1)]
    assert built.good_label == "good image 3"
    assert _colour_at_mark(built.worst_patch) == "red"
    assert _colour_at_mark(built.good_patch) == "blue"
    sources[7, 1] = 4
    turned = build_item(**common, nearest=nearest, bank_sources=sources, support_view=view)
    assert turned.good_label == "good image 3, turned or flipped"
    bare = build_item(**common)
    assert bare.worst_patch is None
    assert bare.good_patch is None
    hidden = build_item(**common, nearest=nearest, bank_sources=sources, support_view=lambda *_: None)
    assert hidden.worst_patch is not None
    assert hidden.good_patch is None
    lost = build_item(**common, nearest=nearest + 99, bank_sources=sources, support_view=view)
    assert lost.good_patch is None


def _colour_at_mark(encoded: bytes | None) -> str:
    """The strongest channel in the middle of the frame that marks the cell."""
    import cv2

    assert encoded is not None
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    cyan = (image[..., 0] > 180) & (image[..., 1] > 170) & (image[..., 2] < 110)
    rows, columns = np.nonzero(cyan)
    centre = image[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2].astype(int)
    return ("blue", "green", "red")[int(np.argmax(centre))]


# Rows

ROWS = [
    ReportRow(path='a,"b"\n.png', sha256="0" * 64, score=1.25, decision=Decision.REJECT),
    ReportRow(path="teil_\udcfc.png", sha256=None, reason="expected an image, got <nothing>: look"),
    ReportRow(path="Prüfung/ü.png", sha256="1" * 64, score=0.1, decision=Decision.PASS),
]


def test_csv_rows_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    assert write_csv(path, iter(ROWS)) == 3
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [row.path for row in ROWS]
    assert [row["status"] for row in rows] == ["scored", "unreadable", "scored"]
    assert [row["score"] for row in rows] == ["1.25", "", "0.1"]
    assert [row["decision"] for row in rows] == ["REJECT", "", "PASS"]
    assert b"teil_\xfc.png" in path.read_bytes()  # the name's own byte
    assert write_csv(path, []) == 0
    assert path.read_text() == "path,sha256,status,score,decision,reason\n"


def test_json_rows_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert write_json(path, {"line": "a/b", "threshold": 1.0}, iter(ROWS)) == 3
    read = json.loads(path.read_text())
    assert read["format_version"] == 1
    assert read["line"] == "a/b"
    assert [row["path"] for row in read["rows"]] == [row.path for row in ROWS]
    assert [row["score"] for row in read["rows"]] == [1.25, None, 0.1]
    assert read["rows"][0]["decision"] == "REJECT"
    assert write_json(path, {}, []) == 0
    assert json.loads(path.read_text()) == {"format_version": 1, "rows": []}


def test_rows_that_fail_half_way_leave_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {}, ROWS)
    before = path.read_bytes()

    def torn() -> Iterator[ReportRow]:
        yield ROWS[0]
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="the store went away"):
        write_json(path, {}, torn())
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {}, [replace(ROWS[0], score=math.nan)])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(StorageError):
        write_csv(tmp_path / "nowhere" / "results.csv", ROWS)


# In a browser


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_filters_sorts_and_enlarges_without_loading_anything(tmp_path: Path, scheme: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: install it to run this test")
    from playwright.sync_api import sync_playwright

    scores = [0.2, 0.85, 1.7, 1.2]
    gallery = [item(f"part_{index}.png", score) for index, score in enumerate(scores)]
    gallery.append(replace(item("x", 0.6), name=HOSTILE))
    path = tmp_path / "report.html"
    write_report(path, report_data([*scores, 0.6], gallery=gallery, notes=[HOSTILE]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800})  # type: ignore[arg-type]
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
        browser.close()
