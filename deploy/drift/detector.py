"""A line's stream, image by image: what is watched of it, and which of it changed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from deploy.drift.place import PLACE, Place
from deploy.drift.ranks import RankTests
from deploy.results.drift_rows import StreamRow
from pipeline.look_figures import PROFILE

STATISTICS = ("score", "brightness", "contrast", "fineness", "red", "blue", "depth", "size", *PLACE)
"""What is watched of every image, each by a test of its own."""

_NOT_PLACE = len(STATISTICS) - len(PLACE)


class Noticed(NamedTuple):
    """A change in one statistic: the rows' ids of the first image of its test, the first changed and the last one.

    `anchor`: of the first image after the last change that was told. Steps too small to be told add up from there.
    """

    statistic: str
    first: int
    since: int
    last: int
    anchor: int


class Detector:
    """Watches one line's stream as one bundle scores it.

    Args:
        block: images whose mean is taken as one: of parts that come in runs of their like, as many as a run has, as the
            images of a run say the same thing many times.
    """

    def __init__(self, block: int = 1) -> None:
        self.block = block
        self._tests = RankTests(len(STATISTICS))
        self._first = np.full(len(STATISTICS), -1, np.int64)
        self._anchor = self._first.copy()
        self._place = Place()

    def take(self, rows: Sequence[StreamRow], *, images_per_alarm: float, seed: Sequence[int]) -> list[Noticed]:
        """The changes that images give an alarm of.

        Args:
            rows: of the stream, the oldest first; whole blocks.
            images_per_alarm: that there are at least, on average, as long as nothing changes; of all statistics
                together.
            seed: of the random numbers that break ties; other for other rows.
        """
        assert len(rows) % self.block == 0, "whole blocks"
        threshold = images_per_alarm * len(STATISTICS) / self.block
        random = np.random.default_rng(list(seed)).random((len(rows) // self.block, len(STATISTICS) + 1)).tolist()
        numbers, profiles = numbers_of(rows), profiles_of(rows)
        placed, found = 0, list[Noticed]()
        for number, (forget, *ties) in enumerate(random):
            begin, end = number * self.block, (number + 1) * self.block
            while placed < end:
                places = self._place.numbers(profiles[placed:])
                numbers[placed : placed + len(places), _NOT_PLACE:] = places
                placed += len(places)
            values = _mean(numbers[begin:end])
            for firsts in (self._first, self._anchor):
                firsts[(firsts < 0) & np.isfinite(values)] = rows[begin].id
            changes = self._tests.take(values.tolist(), rows[begin].id, threshold=threshold, ties=ties, forget=forget)
            moves = [change for change in changes if change.test >= _NOT_PLACE]
            for change in [*(change for change in changes if change.test < _NOT_PLACE), *moves[:1]]:
                first, last = int(self._first[change.test]), rows[end - 1].id
                anchor = int(self._anchor[change.test])
                found.append(Noticed(STATISTICS[change.test], first, change.since, last, anchor))
                self._first[change.test] = -1
            if moves:  # one change, told once; what comes is held against a new reference
                self._place, placed = Place(), end
                self._tests.begin_anew(range(_NOT_PLACE, len(STATISTICS)))
                self._first[_NOT_PLACE:] = -1
        return found

    def told(self, change: Noticed) -> None:
        """Hold what comes against what was since that change."""
        self._anchor[STATISTICS.index(change.statistic)] = change.last + 1

    def packed(self) -> bytes:
        """All that it knows."""
        tests, file = self._tests, io.BytesIO()
        np.savez(
            file,
            block=self.block,
            known=np.array([value for known in tests.known for value in known]),
            counts=np.array([len(known) for known in tests.known]),
            sums=tests.sums,
            gains=tests.gains,
            since=tests.since,
            first=self._first,
            anchor=self._anchor,
            total=self._place.total,
            images=self._place.images,
        )
        return file.getvalue()

    @classmethod
    def unpacked(cls, state: bytes) -> Self:
        """What was packed."""
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            detector = cls(int(arrays["block"]))
            tests, place = detector._tests, detector._place
            parts = np.split(arrays["known"], arrays["counts"].cumsum()[:-1])
            tests.known = [part.tolist() for part in parts]
            tests.sums, tests.gains, tests.since = arrays["sums"], arrays["gains"], arrays["since"]
            detector._first = arrays["first"]
            detector._anchor = arrays["anchor"] if "anchor" in arrays else detector._first.copy()
            place.total, place.images = arrays["total"], int(arrays["images"])
        return detector


def numbers_of(rows: Sequence[StreamRow]) -> NDArray[np.float64]:
    """What is watched of each row (N, len(STATISTICS)), NaN where it has none; the places are not filled in."""
    numbers = np.full((len(rows), len(STATISTICS)), np.nan)
    for number, row in enumerate(rows):
        # A golden section of widths: heights and widths that change together do not cancel out.
        size = None if row.height is None or row.width is None else row.height + 0.618 * row.width
        numbers[number, :_NOT_PLACE] = [
            np.nan if value is None else value
            for value in (row.score, row.brightness, row.contrast, row.fineness, row.red, row.blue, row.depth, size)
        ]
    return numbers


def profiles_of(rows: Sequence[StreamRow]) -> NDArray[np.float64]:
    """The profiles of each row (N, 2 * PROFILE), NaN where it has none."""
    profiles = np.full((len(rows), 2 * PROFILE), np.nan)
    for number, row in enumerate(rows):
        if row.profiles is not None:
            profiles[number] = np.frombuffer(row.profiles, np.uint8)
    return profiles


def _mean(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a block, over those that have a number."""
    there = np.isfinite(numbers)
    count = there.sum(0)
    return np.where(count > 0, np.where(there, numbers, 0).sum(0) / np.maximum(count, 1), np.nan)
