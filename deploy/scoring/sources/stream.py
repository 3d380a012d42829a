"""A stream or a camera: frames as they come, the latest first in need, and a connection that is made again."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import cv2

from deploy.scoring.sources.address import STREAM_OPTIONS, StreamAddress
from deploy.scoring.sources.capture import Sampling, open_capture, retrieve
from deploy.scoring.sources.source import LiveSource, SourceItem
from pipeline.errors import DeviceError, LinewiseError, StorageError
from pipeline.imaging.images import ImageLimits, image_limits

_WAITING_FRAMES = 4
_IDLE_SECONDS = 0.25
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0


class LiveStream(LiveSource):
    """The frames of a stream or a camera until it is stopped; a frame is called `rtsp://camera7/line1#120`.

    A thread of its own receives, so that nothing piles up on the way: when scoring is slower than the camera, the
    oldest waiting frame is dropped, and counted. A stream that breaks off is opened again after 0.5, 1, 2 ... 30 s,
    for as long as it takes. Frame numbers go on.

    Args:
        address: a URL, or the number of a camera of this machine.
        sampling: which frames.
        limits: on the size of frames; None: what this machine is set to.

    Raises:
        StorageError: the stream cannot be reached at the start.
        DeviceError: there is no such camera.
        ImageError: its frames are too large or too small.
    """

    def __init__(self, address: StreamAddress | int, sampling: Sampling, limits: ImageLimits | None = None) -> None:
        super().__init__()
        self._address, self._sampling, self._limits = address, sampling, limits or image_limits()
        self.name = f"camera:{address}" if isinstance(address, int) else address.shown
        self._frames: queue.Queue[SourceItem] = queue.Queue(_WAITING_FRAMES)
        self._failure: Exception | None = None
        self._dropped = 0
        self._losses = 0
        self._away = False
        capture = self._open()
        if capture is None:
            raise self._not_there()
        self._capture = capture

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
                    yield self._frames.get(timeout=_IDLE_SECONDS)
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
        capture: cv2.VideoCapture | None = self._capture
        try:
            while capture is not None and not self._stopped.is_set():
                if not capture.grab():
                    capture.release()
                    capture = self._open_again()
                    continue
                now = time.monotonic()
                if self._sampling.wants(index, now, last):
                    last = now
                    frame = retrieve(capture, self._limits)
                    if frame is not None:  # half a picture after a break; the next one is whole
                        self._hand_over(SourceItem(name=f"{self.name}#{index}", path=None, frame=frame))
                index += 1
        except Exception as error:  # told by `items`, in the thread that scores
            self._failure = error
        finally:
            if capture is not None:
                capture.release()

    def _hand_over(self, item: SourceItem) -> None:
        while True:
            try:
                self._frames.put_nowait(item)
            except queue.Full:
                try:
                    self._frames.get_nowait()
                    self._dropped += 1
                except queue.Empty:
                    continue
            else:
                return

    def _open_again(self) -> cv2.VideoCapture | None:
        self._losses += 1
        self._away = True
        wait = _FIRST_RETRY_SECONDS
        while not self._stopped.wait(wait):
            if (capture := self._open()) is not None:
                self._away = False
                return capture
            wait = min(2 * wait, _LAST_RETRY_SECONDS)
        return None

    def _open(self) -> cv2.VideoCapture | None:
        source = self._address if isinstance(self._address, int) else self._address.url
        return open_capture(source, STREAM_OPTIONS, self._limits)

    def _not_there(self) -> LinewiseError:
        if isinstance(self._address, int):
            return DeviceError(
                f"a camera {self._address}", "none that opens", "check its cable, or name another number"
            )
        remedy = "check the address, the camera and its user and password"
        return StorageError(f"a stream at {self.name}", "none that opens", remedy)
