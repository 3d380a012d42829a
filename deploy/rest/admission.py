"""How much the server takes on at once: images that wait, and the bytes that they hold. For one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from pipeline.imaging.files import RAISE_THE_LIMIT

BODY_SECONDS = 60.0
"""How long an image may take to arrive: a place is held meanwhile."""


class RefusedError(Exception):
    """A request that is not taken on: its HTTP status, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Admission:
    """Places for images.

    Args:
        places: so many images are under way at most, from the request's first byte to its answer.
        max_bytes: of one image's file. All that are under way hold no more than two such files.
    """

    def __init__(self, places: int, max_bytes: int) -> None:
        self._places = places
        self._max_bytes = max_bytes
        self._held = 0
        self.waiting = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one image.

        Raises:
            RefusedError: all are taken.
        """
        if self.waiting >= self._places:
            raise self._full()
        self.waiting += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.waiting -= 1
            self._held -= place.held

    def check_size(self, size: int) -> None:
        """See that a file is not longer than any image may be.

        Raises:
            RefusedError: it is.
        """
        if size > self._max_bytes:
            got = f"{size:,} or more"
            sentence = (
                f"expected at most {self._max_bytes:,} bytes, got {got}: save a smaller image or {RAISE_THE_LIMIT}"
            )
            raise RefusedError(413, sentence)

    def hold(self, count: int) -> None:
        """Count bytes that are held.

        Raises:
            RefusedError: too many are held; these do not count.
        """
        if self._held + count > 2 * self._max_bytes:
            raise self._full()
        self._held += count

    def _full(self) -> RefusedError:
        got = f"{self.waiting} images of {self._held:,} bytes that wait already"
        return RefusedError(503, f"expected a place in the queue, got {got}: send it again in a second")


class Place:
    """One image's place, and the bytes that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held = 0

    async def receive(self, chunks: AsyncIterator[bytes], declared: str | None) -> bytes:
        """An image's file as it arrives.

        Args:
            chunks: of the request's body.
            declared: its length, as the request's head says; None: it does not.

        Raises:
            RefusedError: it is too large or empty, too much is held, or it takes too long.
        """
        if declared is not None and declared.isdecimal():
            self._admission.check_size(int(declared))
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in chunks:
                    self._admission.check_size(self.held + len(chunk))
                    self._admission.hold(len(chunk))
                    self.held += len(chunk)
                    parts.append(chunk)
        except TimeoutError as error:
            got = f"{self.held:,} bytes"
            raise RefusedError(
                408, f"expected an image within {BODY_SECONDS:.0f} seconds, got {got}: send it again"
            ) from error
        if not self.held:
            raise RefusedError(422, "expected an image's file as the body, got nothing: send the file's bytes")
        return b"".join(parts)
