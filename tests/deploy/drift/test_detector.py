"""What changes about a camera is noticed, dated and named; an undisturbed stream gives no alarm."""

from __future__ import annotations

import re

import numpy as np
import pytest

from deploy.drift.block import LEARNED, MOST, block_of
from deploy.drift.detector import Detector, Noticed
from deploy.drift.onset import onset
from deploy.drift.place import PLACE
from deploy.drift.words import tell
from deploy.results.drift_rows import StreamRow
from pipeline.camera_shift import SHIFTS
from tests.deploy.drift.camera import Change, of_ids, shifted, stream

BEFORE, AFTER = 250, 60
RATE = 100_000.0
SEED = (1, 2)


@pytest.fixture(scope="module")
def undisturbed() -> list[StreamRow]:
    return stream(BEFORE)


def watch(rows: list[StreamRow], block: int = 1) -> list[Noticed]:
    return Detector(block).take(rows[: len(rows) // block * block], images_per_alarm=RATE, seed=SEED)


def told(rows: list[StreamRow], found: Noticed) -> str:
    """The words, once the alarm's beginning is checked."""
    window = of_ids(rows, found.first, found.last)
    begins = onset(found.statistic, window, expected=found.since - found.first)
    assert abs(window[begins].id - (BEFORE + 1)) <= 2, "when it began"
    return tell(found.statistic, window[:begins], window[begins:]).words


def right(pixels: np.ndarray) -> np.ndarray:
    return np.roll(pixels, 3, axis=1)


def darker(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.8).astype(np.uint8)


def test_an_undisturbed_stream_gives_no_alarm(undisturbed: list[StreamRow]) -> None:
    assert watch(undisturbed) == []


@pytest.mark.parametrize(
    ("change", "statistics", "words"),
    [
        (shifted("light"), ("brightness",), r"3\d % brighter$"),
        (darker, ("brightness",), r"(19|20|21) % darker$"),
        (shifted("blur"), ("fineness",), r"sharpness down by \d\d %$"),
        (shifted("noise"), ("fineness",), r"fine detail up by \d+ %: noise"),
        (shifted("camera"), ("brightness",), r"\d\d % darker$"),
        (shifted("magnification"), PLACE, r".*larger by about 1\d %$"),
        (right, PLACE, r"shifted by about (2\d|3\d) px to the right"),
    ],
    ids=["light", "darker", "blur", "noise", "camera", "magnification", "right"],
)
def test_a_change_of_the_camera_is_noticed_and_named(
    undisturbed: list[StreamRow], change: Change, statistics: tuple[str, ...], words: str
) -> None:
    rows = undisturbed + stream(BEFORE, AFTER, change)[BEFORE:]
    alarms = [found for found in watch(rows) if found.last > BEFORE]
    assert alarms[0].last - BEFORE <= 25
    found = next(found for found in alarms if found.statistic in statistics)
    assert re.match(words, told(rows, found))


def test_every_shift_of_the_module_is_among_them() -> None:
    assert set(SHIFTS) == {"light", "blur", "noise", "camera", "magnification"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 480, "width": 640}, "images are 480 x 640 pixels instead of 960 x 1280 pixels"),
        ({"depth": 8}, "images are of 8 bit in mono instead of 8 bit in colour"),
        ({"depth": 48}, "images are of 16 bit in colour instead of 8 bit in colour"),
        ({"score": 9.0}, "scores rose: their median is above all before"),
    ],
)
def test_what_is_not_in_the_pixels_is_noticed_and_named(
    undisturbed: list[StreamRow], changes: dict[str, object], words: str
) -> None:
    rows = undisturbed + stream(BEFORE, 30, None, **changes)[BEFORE:]
    assert [told(rows, found) for found in watch(rows)] == [words]


def test_rows_of_before_figures_are_watched_by_their_scores(undisturbed: list[StreamRow]) -> None:
    bare = [StreamRow(each.id, each.scored_at, each.image_path, each.score) for each in undisturbed]
    risen = [each._replace(id=each.id + BEFORE, score=9.0) for each in bare[:30]]
    assert [found.statistic for found in watch(bare + risen)] == ["score"]


def test_a_state_goes_on_where_it_was_packed(undisturbed: list[StreamRow]) -> None:
    rows = undisturbed + stream(BEFORE, AFTER, darker)[BEFORE:]
    whole, first = Detector(), Detector()
    whole.take(rows[:200], images_per_alarm=RATE, seed=SEED)
    first.take(rows[:200], images_per_alarm=RATE, seed=SEED)
    again = Detector.unpacked(first.packed())
    expected = whole.take(rows[200:], images_per_alarm=RATE, seed=(3,))
    assert expected
    assert again.take(rows[200:], images_per_alarm=RATE, seed=(3,)) == expected
    assert again.packed() == whole.packed()


def test_blocks_bear_runs_of_similar_parts() -> None:
    """Parts that come in runs of ten alike make a stream whose order says much; its block means say little."""
    rng = np.random.default_rng(0)
    runs = np.repeat(rng.normal(100, 5, 200), 10) + rng.normal(0, 0.1, 2000)
    base = stream(1)[0]
    rows = [base._replace(id=number, brightness=float(value)) for number, value in enumerate(runs, 1)]
    assert watch(rows)
    block = block_of(rows[3 : 3 + LEARNED])
    assert 10 < block <= MOST
    assert watch(rows[3:], block) == []


def test_a_stream_whose_order_says_nothing_needs_no_block(undisturbed: list[StreamRow]) -> None:
    assert block_of(undisturbed) == 1
    assert block_of([StreamRow(1, undisturbed[0].scored_at, "a", 0.5)] * LEARNED) == 1
