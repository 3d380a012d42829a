"""Frames as they come, from whatever sends them: the latest first in need, and a connection that is made again."""

from __future__ import annotations

import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.source import LiveSource, SourceItem
from pipeline.errors import LinewiseError

_WAITING_FRAMES = 4
_IDLE_SECONDS = 0.25
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0


class Feed(Protocol):
    """A connection that frames come through. For one thread."""

    def grab(self) -> bool | None:
        """Wait for the next frame. None: nothing came yet, ask again; False: the connection broke off."""
        ...

    def retrieve(self, name: str) -> SourceItem | None:
        """The frame that was grabbed, under this name; None where it does not decode, as half a picture does.

        Raises:
            LinewiseError: frames like this one cannot be scored.
        """
        ...

    def close(self) -> None:
        """End the connection. Does no harm to one that broke off."""
        ...


class LiveFrames(LiveSource):
    """A source of frames that goes on until it is stopped; a frame is called by its number, `camera:0#120`.

    A thread of its own receives, so that nothing piles up on the way: when scoring is slower than the camera, the
    oldest waiting frame is dropped, and counted. A connection that breaks off is made again after 0.5, 1, 2 ... 30 s,
    for as long as it takes. Frame numbers go on.

    Args:
        name: see `ImageSource`.
        sampling: which frames.

    Raises:
        LinewiseError: it does not open at the start.
    """

    def __init__(self, name: str, sampling: Sampling) -> None:
        super().__init__()
        self.name, self._sampling = name, sampling
        self._items: queue.Queue[SourceItem] = queue.Queue(_WAITING_FRAMES)
        self._failure: Exception | None = None
        self._dropped = 0
        self._losses = 0
        self._away = False
        feed = self._open()
        if feed is None:
            raise self._not_there()
        self._feed = feed

    @abstractmethod
    def _open(self) -> Feed | None:
        """A connection; None where there is none at the moment."""

    @abstractmethod
    def _not_there(self) -> LinewiseError:
        """What is raised where it does not open at the start."""

    @property
    def remarks(self) -> list[str]:
        """See `ImageSource`: how often the connection was lost, and what was never scored."""
        said = []
        if self._losses:
            state = "it is being opened again" if self._away else "it was opened again"
            times = "once" if self._losses == 1 else f"{self._losses} times"
            said.append(f"{self.name} broke off {times}; {state}.")
        if self._dropped:
            said.append(f"{self._dropped} frames were not scored: the camera is faster than this machine.")
        return said

    def items(self) -> Iterator[SourceItem | None]:
        """See `ImageSource`."""
        receiver = threading.Thread(target=self._receive, name="linewise-stream", daemon=True)
        receiver.start()
        try:
            while not self._stopped.is_set():
                try:
                    yield self._items.get(timeout=_IDLE_SECONDS)
                except queue.Empty:
                    if self._failure is not None:
                        raise self._failure from None
                    yield None
        finally:
            self._stopped.set()
            receiver.join()

    def _receive(self) -> None:
        """The receiving thread: frames into the queue, and the connection kept up."""
        index, last = 0, None
        feed: Feed | None = self._feed
        try:
            while feed is not None and not self._stopped.is_set():
                grabbed = feed.grab()
                if grabbed is None:
                    continue
                if not grabbed:
                    feed.close()
                    feed = self._open_again()
                    continue
                now = time.monotonic()
                if self._sampling.wants(index, now, last):
                    last = now
                    item = feed.retrieve(f"{self.name}#{index}")
                    if item is not None:
                        self._hand_over(item)
                index += 1
        except Exception as error:  # told by `items`, in the thread that scores
            self._failure = error
        finally:
            if feed is not None:
                feed.close()

    def _hand_over(self, item: SourceItem) -> None:
        while True:
            try:
                self._items.put_nowait(item)
            except queue.Full:
                try:
                    self._items.get_nowait()
                    self._dropped += 1
                except queue.Empty:
                    continue
            else:
                return

    def _open_again(self) -> Feed | None:
        self._losses += 1
        self._away = True
        wait = _FIRST_RETRY_SECONDS
        while not self._stopped.wait(wait):
            if (feed := self._open()) is not None:
                self._away = False
                return feed
            wait = min(2 * wait, _LAST_RETRY_SECONDS)
        return None
