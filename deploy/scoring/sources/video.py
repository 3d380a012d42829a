"""A video file, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from deploy.results.records import path_text
from deploy.scoring.sources.address import FILE_OPTIONS
from deploy.scoring.sources.capture import Sampling, open_capture, retrieve
from deploy.scoring.sources.source import SourceItem
from pipeline.errors import ImageError
from pipeline.imaging.images import ImageLimits, image_limits

_SHORTFALL = 0.02  # of the frames a file promises: some containers know their number only about


class VideoFile:
    """The frames of a video file, in their order; a frame is called `clip.avi#120`, counted from 0.

    A file that ends early is scored up to there and then counts as one unreadable image, so that nobody takes the rest
    for good.

    Args:
        path: the file.
        sampling: which frames.
        limits: on the size of frames; None: what this machine is set to.

    Raises:
        ImageError: it is no video of a known kind, or its frames are too large.
    """

    remarks: Sequence[str] = ()

    def __init__(self, path: Path, sampling: Sampling, limits: ImageLimits | None = None) -> None:
        self._path, self._sampling, self._limits = path, sampling, limits or image_limits()
        capture = self._open()
        self._frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()
        self.name = path_text(path)

    @property
    def total(self) -> int | None:
        """How many frames will be scored, as the file's header has it; None with seconds between them."""
        if self._sampling.seconds is not None or self._frames == 0:
            return None
        return -(-self._frames // self._sampling.frames)

    def items(self) -> Iterator[SourceItem | None]:
        """See `ImageSource`."""
        capture = self._open()
        index, last = 0, None
        try:
            while capture.grab():
                at = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if self._sampling.wants(index, at, last):
                    last = at
                    yield self._item(index, capture)
                index += 1
        finally:
            capture.release()
        if self._frames - index > max(1, self._frames * _SHORTFALL):
            problem = (
                f"expected a video of {self._frames} frames, got only {index}: copy the file again from its source"
            )
            yield SourceItem(name=self._path.name, path=self._path, problem=problem)

    def _item(self, index: int, capture: cv2.VideoCapture) -> SourceItem:
        frame = retrieve(capture, self._limits)
        return SourceItem(
            name=f"{self._path.name}#{index}",
            path=self._path.with_name(f"{self._path.name}#{index}"),
            frame=frame,
            problem=None if frame is not None else "expected a frame that decodes, got damaged data: copy it again",
        )

    def _open(self) -> cv2.VideoCapture:
        # An absolute path: ffmpeg would take a name such as "concat:a" for a protocol.
        capture = open_capture(str(self._path.absolute()), FILE_OPTIONS, self._limits)
        if capture is None:
            remedy = "save it as AVI (MJPG), MP4 or MKV"
            raise ImageError("a video file", f"one that does not open, {self._path}", remedy, self._path)
        return capture
