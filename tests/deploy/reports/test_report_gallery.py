"""What a report draws: the histogram of the scores, and the gallery of the images worth looking at."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.reports.gallery import Gallery, GalleryItem, build_item
from deploy.reports.histogram import histogram
from deploy.reports.overlay import RGB
from pipeline.calibration import Decision
from tests.deploy.reports.report_parts import THRESHOLD, by_decision

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
    drawn = histogram(by_decision(values, threshold), threshold)
    told: Counter[Decision] = Counter()
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= 100.02
        assert bar.height > 0
        side = bar.x + bar.width / 2 - drawn.reject.at
        assert side > 0 if bar.decision is Decision.REJECT else side < 0  # the limit is a bin's edge
        match = re.match(r"\w+: ([\d,]+) image", bar.label)
        assert match
        told[bar.decision] += int(match[1].replace(",", ""))
    assert told == Counter(threshold.decide(float(value)) for value in values) == Counter(drawn.counts)
    assert drawn.axis.low < threshold.review
    assert drawn.axis.high > threshold.reject
    places = [tick.at for tick in drawn.score_ticks]
    assert len(places) >= 2
    assert places == sorted(set(places))
    assert drawn.overflow == (values > drawn.axis.high).sum()


def test_one_far_outlier_does_not_flatten_the_histogram():
    values = np.concatenate([np.linspace(0.4, 0.7, 200), [1e6]])
    drawn = histogram(by_decision(values), THRESHOLD)
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
