"""Images to worker threads and outcomes back: fused on a CPU, decoders and batches apart on an accelerator.

Both keep a bounded number of images in memory, and give outcomes in the order they are ready to be counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import numpy as np

from deploy.engine.batches import padded
from deploy.engine.runtime import ScoringEngine
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import Outcome, Ready, ScoringWorker

_BATCHES_IN_FLIGHT = 2  # while one is computed, the results of the other are judged


class Lane(Protocol):
    """Where a line's images go: its engine, and the worker with its bundle. One bundle only, for ever."""

    @property
    def engine(self) -> ScoringEngine:
        """Scores mixed batches."""
        ...

    @property
    def worker(self) -> ScoringWorker:
        """Decodes and decides."""
        ...


LaneT = TypeVar("LaneT", bound=Lane)


class Dispatch(ABC, Generic[LaneT]):
    """Takes images of any lines. For one calling thread; `close` it always."""

    @abstractmethod
    def put(self, lane: LaneT, item: SourceItem) -> None:
        """Hand an image over; call `take` after it."""

    @abstractmethod
    def take(self, *, everything: bool) -> Iterator[tuple[LaneT, Outcome]]:
        """Outcomes that are there. Waits where too many images are in memory; for all of them with `everything`.

        Raises:
            LinewiseError: scoring failed. Other images may be lost; nothing was said of them.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Forget what no thread has begun; `take(everything=True)` then gives the rest."""

    @abstractmethod
    def close(self) -> None:
        """End the threads; what they are doing is lost."""


class Fused(Dispatch[LaneT]):
    """Decode, score and decide in one thread, image by image: fastest on a CPU."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="linewise-score")
        self._window = 2 * workers + 1  # enough that no worker waits for the first in line
        self._pending: deque[tuple[LaneT, Future[list[Outcome]]]] = deque()

    def put(self, lane: LaneT, item: SourceItem) -> None:
        """See `Dispatch`."""
        self._pending.append((lane, self._pool.submit(lane.worker.score, [item])))

    def take(self, *, everything: bool) -> Iterator[tuple[LaneT, Outcome]]:
        """See `Dispatch`."""
        while self._pending and (everything or len(self._pending) >= self._window or self._pending[0][1].done()):
            lane, outcomes = self._pending.popleft()
            yield from ((lane, outcome) for outcome in outcomes.result())

    def cancel(self) -> None:
        """See `Dispatch`."""
        self._pending = deque(entry for entry in self._pending if not entry[1].cancel())

    def close(self) -> None:
        """See `Dispatch`."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Batched(Dispatch[LaneT]):
    """A pool that decodes, a bounded queue, and batches of one size that mix lines: what an accelerator wants."""

    def __init__(self, workers: int, batch: int) -> None:
        self._decoders = ThreadPoolExecutor(workers, thread_name_prefix="linewise-decode")
        self._runners = ThreadPoolExecutor(_BATCHES_IN_FLIGHT, thread_name_prefix="linewise-batch")
        self._batch = batch
        self._window = 2 * workers + batch
        self._decoding: deque[tuple[LaneT, Future[Ready | Outcome]]] = deque()
        self._waiting: dict[ScoringEngine, list[tuple[LaneT, Ready]]] = {}
        self._running: deque[Future[list[tuple[LaneT, Outcome]]]] = deque()

    def put(self, lane: LaneT, item: SourceItem) -> None:
        """See `Dispatch`."""
        self._decoding.append((lane, self._decoders.submit(lane.worker.prepare, item)))

    def take(self, *, everything: bool) -> Iterator[tuple[LaneT, Outcome]]:
        """See `Dispatch`."""
        while self._decoding and (everything or len(self._decoding) >= self._window or self._decoding[0][1].done()):
            lane, prepared = self._decoding.popleft()
            image = prepared.result()
            if isinstance(image, Outcome):
                yield lane, image
                continue
            waiting = self._waiting.setdefault(lane.engine, [])
            waiting.append((lane, image))
            if len(waiting) == self._batch:
                self._start(lane.engine)
                yield from self._finished(everything=False)
        if everything:
            for engine in list(self._waiting):
                self._start(engine)
        yield from self._finished(everything=everything)

    def cancel(self) -> None:
        """See `Dispatch`."""
        self._decoding = deque(entry for entry in self._decoding if not entry[1].cancel())

    def close(self) -> None:
        """See `Dispatch`."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self._runners.shutdown(wait=True, cancel_futures=True)

    def _start(self, engine: ScoringEngine) -> None:
        self._running.append(self._runners.submit(self._score, engine, self._waiting.pop(engine)))

    def _finished(self, *, everything: bool) -> Iterator[tuple[LaneT, Outcome]]:
        while self._running and (everything or len(self._running) > _BATCHES_IN_FLIGHT or self._running[0].done()):
            yield from self._running.popleft().result()

    def _score(self, engine: ScoringEngine, batch: list[tuple[LaneT, Ready]]) -> list[tuple[LaneT, Outcome]]:
        pixels = padded(np.stack([image.pixels for _, image in batch]), self._batch)
        scores = engine.score_mixed([lane.worker.head for lane, _ in batch], pixels)
        return [(lane, lane.worker.decide(image, scored)) for (lane, image), scored in zip(batch, scores, strict=True)]
