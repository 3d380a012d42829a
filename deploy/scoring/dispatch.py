"""Images to worker threads and outcomes back in the order they came: fused on a CPU, decoders and batches elsewhere."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from deploy.engine.batches import padded
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import ImageScorer, Outcome, Ready, ScoringWorker

MAX_FRAME_BYTES = 512 * 2**20
"""How much the frames of a video or stream that wait to be scored may hold; files wait on their disk."""

_TURN = 16  # images
_BATCHES_IN_FLIGHT = 2  # while one is computed, the results of the other are judged
_PATIENCE_SECONDS = 0.1  # after which what is done is handed out, however little it is


class Lane(Protocol):
    """Where a line's images go. One bundle only, for ever."""

    @property
    def worker(self) -> ScoringWorker:
        """Decodes, scores and decides."""
        ...


LaneT = TypeVar("LaneT", bound=Lane)


@dataclass(frozen=True)
class _Slot(Generic[LaneT]):
    """An image's place in the order. `begins` can be cancelled until a thread takes the image up."""

    lane: LaneT
    begins: Future[Outcome] | Future[None]
    outcome: Future[Outcome]
    frame_bytes: int


class Dispatch(ABC, Generic[LaneT]):
    """Takes images of any lines, and holds a bounded number of them. For one calling thread; `close` it always.

    Who waits for each image alone, as a server does, only calls `submit`, from any thread, and bounds their number.

    Args:
        window: so many images are in memory at most, counted from `put` to `take`.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._slots: deque[_Slot[LaneT]] = deque()
        self._frame_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether there are images to `take`."""
        return bool(self._slots)

    def put(self, lane: LaneT, item: SourceItem) -> None:
        """Hand an image over; call `take` after it."""
        begins, outcome = self.submit(lane, item)
        frame_bytes = 0 if item.frame is None else item.frame.nbytes
        self._slots.append(_Slot(lane, begins, outcome, frame_bytes))
        self._frame_bytes += frame_bytes

    def take(self, *, everything: bool = False) -> Iterator[tuple[LaneT, Outcome]]:
        """Outcomes that are there, in order. Waits where too many images are in memory; for all with `everything`.

        Raises:
            LinewiseError: scoring that image failed; call again for the ones behind it.
        """
        if self._is_full() and not everything:  # to be woken once for several images costs less than once for each
            with suppress(TimeoutError):
                self._slots[len(self._slots) // 2].outcome.exception(_PATIENCE_SECONDS)
        while self._slots and (everything or self._is_full() or self._slots[0].outcome.done()):
            self._slots[0].outcome.exception()  # an interrupted wait loses nothing
            slot = self._slots.popleft()
            self._frame_bytes -= slot.frame_bytes
            yield slot.lane, slot.outcome.result()

    def cancel(self) -> None:
        """Forget what no thread has begun; `take(everything=True)` then gives the rest."""
        kept = deque(slot for slot in self._slots if not slot.begins.cancel())
        self._frame_bytes = sum(slot.frame_bytes for slot in kept)
        self._forget(len(self._slots) - len(kept))
        self._slots = kept

    @abstractmethod
    def close(self) -> None:
        """End the threads; what they are doing is lost."""

    @abstractmethod
    def submit(self, lane: LaneT, item: SourceItem) -> tuple[Future[Outcome] | Future[None], Future[Outcome]]:
        """Give the image to a thread: what can be cancelled, and what will hold its outcome."""

    def _forget(self, count: int) -> None:
        """So many images were cancelled."""

    def _is_full(self) -> bool:
        return len(self._slots) >= self._window or self._frame_bytes > MAX_FRAME_BYTES


class Fused(Dispatch[LaneT]):
    """Decode, score and decide in one thread: fastest on a CPU.

    A thread takes several images in turn, decodes them all, looks at them all, then scores them all: from image to
    image each of the three would find its data and code gone from the core's caches (benchmarks/scoring.md).
    """

    def __init__(self, workers: int) -> None:
        super().__init__(2 * _TURN * workers)
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="linewise-score")
        self._lock = threading.Lock()  # guards the two below
        self._waiting: deque[tuple[LaneT, SourceItem, Future[Outcome]]] = deque()
        self._at_work = 0

    def close(self) -> None:
        """See `Dispatch`."""
        self.cancel()  # also what a thread has in its turn and has not begun
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, lane: LaneT, item: SourceItem) -> tuple[Future[Outcome], Future[Outcome]]:
        """See `Dispatch`."""
        outcome: Future[Outcome] = Future()
        with self._lock:
            self._waiting.append((lane, item, outcome))
            if self._at_work < self._workers:
                self._at_work += 1
                self._pool.submit(self._work)
        return outcome, outcome

    def _work(self) -> None:
        while turn := self._next_turn():
            ready: list[tuple[LaneT, Ready, Future[Outcome]]] = []
            for lane, item, outcome in turn:
                if not outcome.set_running_or_notify_cancel():
                    continue
                with _errors_into(outcome):
                    prepared = _prepared(lane.worker, item)
                    if isinstance(prepared, Ready):
                        ready.append((lane, prepared, outcome))
                    else:
                        outcome.set_result(prepared)
            seen: list[tuple[LaneT, Ready, Future[Outcome]]] = []
            for lane, image, outcome in ready:
                with _errors_into(outcome):
                    lane.worker.look(image)
                    seen.append((lane, image, outcome))
            for lane, image, outcome in seen:
                with _errors_into(outcome):
                    outcome.set_result(lane.worker.score(image))

    def _next_turn(self) -> list[tuple[LaneT, SourceItem, Future[Outcome]]]:
        """Images for a thread: so many that all come to their end together; none, and it ends."""
        with self._lock:
            share = min(_TURN, -(-len(self._waiting) // self._workers))
            if share == 0:
                self._at_work -= 1
            return [self._waiting.popleft() for _ in range(share)]


@dataclass(frozen=True)
class _Decoded(Generic[LaneT]):
    """An image that waits for a batch."""

    lane: LaneT
    image: Ready
    outcome: Future[Outcome]


class Batched(Dispatch[LaneT]):
    """A pool that decodes, and batches of one size that mix lines: what an accelerator wants.

    A batch starts when it is full, or when nothing more is being decoded: none waits for an image that may never come.
    """

    def __init__(self, workers: int, batch: int) -> None:
        super().__init__(2 * workers + (_BATCHES_IN_FLIGHT + 1) * batch)
        self._decoders = ThreadPoolExecutor(workers, thread_name_prefix="linewise-decode")
        self._runners = ThreadPoolExecutor(_BATCHES_IN_FLIGHT, thread_name_prefix="linewise-batch")
        self._batch = batch
        self._lock = threading.Lock()  # guards the two below
        self._undecoded = 0
        self._waiting: dict[ImageScorer, list[_Decoded[LaneT]]] = {}

    def close(self) -> None:
        """See `Dispatch`."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self._runners.shutdown(wait=True, cancel_futures=True)

    def submit(self, lane: LaneT, item: SourceItem) -> tuple[Future[None], Future[Outcome]]:
        """See `Dispatch`."""
        outcome: Future[Outcome] = Future()
        with self._lock:
            self._undecoded += 1
        return self._decoders.submit(self._decode, lane, item, outcome), outcome

    def _forget(self, count: int) -> None:
        with self._lock:
            self._undecoded -= count
            self._start_batches()

    def _decode(self, lane: LaneT, item: SourceItem, outcome: Future[Outcome]) -> None:
        image, worker = None, lane.worker
        with _errors_into(outcome):
            prepared = worker.prepare(item)
            if isinstance(prepared, Ready):
                image = prepared
            else:
                outcome.set_result(prepared)
        with self._lock:
            self._undecoded -= 1
            if image is not None and not worker.scores_at_once:
                self._waiting.setdefault(worker.engine, []).append(_Decoded(lane, image, outcome))
            self._start_batches()
        if image is not None and worker.scores_at_once:  # after that: no batch of others waits for it
            with _errors_into(outcome):
                outcome.set_result(worker.score(image))

    def _start_batches(self) -> None:
        for engine, images in list(self._waiting.items()):
            if len(images) == self._batch or self._undecoded == 0:
                self._runners.submit(self._score, engine, self._waiting.pop(engine))

    def _score(self, engine: ImageScorer, batch: list[_Decoded[LaneT]]) -> None:
        with _errors_into(*(each.outcome for each in batch)):
            pixels = padded(np.stack([each.image.pixels for each in batch]), self._batch)
            scores = engine.score_mixed([each.lane.worker.head for each in batch], pixels)
            for each, scored in zip(batch, scores, strict=True):
                with _errors_into(each.outcome):  # such as an overlay that cannot be written
                    each.outcome.set_result(each.lane.worker.outcome(each.image, scored))


def _prepared(worker: ScoringWorker, item: SourceItem) -> Ready | Outcome:
    """The item to be scored with others, or its outcome."""
    prepared = worker.prepare(item)
    return worker.score(prepared) if isinstance(prepared, Ready) and worker.scores_at_once else prepared


@contextmanager
def _errors_into(*outcomes: Future[Outcome]) -> Iterator[None]:
    """What fails inside is raised by `Dispatch.take`, for each of the images that it leaves without an outcome."""
    try:
        yield
    except BaseException as error:
        for outcome in outcomes:
            outcome.set_exception(error)
