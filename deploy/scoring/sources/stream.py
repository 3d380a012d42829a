"""A stream or a camera of the machine, through OpenCV."""

from __future__ import annotations

import cv2

from deploy.scoring.sources.address import STREAM_OPTIONS, StreamAddress
from deploy.scoring.sources.capture import Sampling, open_capture, retrieve
from deploy.scoring.sources.live_frames import LiveFrames
from deploy.scoring.sources.source import SourceItem
from pipeline.errors import DeviceError, LinewiseError, StorageError
from pipeline.imaging.images import ImageLimits, image_limits


class LiveStream(LiveFrames):
    """The frames of a stream or a camera until it is stopped; a frame is called `rtsp://camera7/line1#120`.

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
        self._address, self._limits = address, limits or image_limits()
        super().__init__(f"camera:{address}" if isinstance(address, int) else address.shown, sampling)

    def _open(self) -> _Capture | None:
        source = self._address if isinstance(self._address, int) else self._address.url
        capture = open_capture(source, STREAM_OPTIONS, self._limits)
        return None if capture is None else _Capture(capture, self._limits)

    def _not_there(self) -> LinewiseError:
        if isinstance(self._address, int):
            return DeviceError(
                f"a camera {self._address}", "none that opens", "check its cable, or name another number"
            )
        remedy = "check the address, the camera and its user and password"
        return StorageError(f"a stream at {self.name}", "none that opens", remedy)


class _Capture:
    """A `Feed`."""

    def __init__(self, capture: cv2.VideoCapture, limits: ImageLimits) -> None:
        self._capture, self._limits = capture, limits

    def grab(self) -> bool:
        return self._capture.grab()

    def retrieve(self, name: str) -> SourceItem | None:
        frame = retrieve(self._capture, self._limits)
        return None if frame is None else SourceItem(name=name, path=None, frame=frame)

    def close(self) -> None:
        self._capture.release()
