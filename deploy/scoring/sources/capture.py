"""OpenCV's video capture, opened on purpose: one backend, short timeouts, nothing that a line camera does not need."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.images import ImageLimits, check_size

_TIMEOUT_MS = 5000  # to open, and between two frames
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_opening = threading.Lock()  # ffmpeg's options are handed over in the environment, the only way OpenCV has


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are scored: each `frames`-th, or the first one after every `seconds`."""

    frames: int = 1
    seconds: float | None = None

    def wants(self, index: int, at: float, last: float | None) -> bool:
        """Whether the frame `index`, at the second `at`, is one of them; `last` is when the last one was taken."""
        if self.seconds is None:
            return index % self.frames == 0
        return last is None or at - last >= self.seconds - 1e-6  # times are rounded: 0.1 s of a 10 Hz camera is a frame


def parse_sampling(text: str) -> Sampling:
    """`"10"`: every tenth frame. `"0.5s"`: one frame in half a second.

    Raises:
        ConfigError: it is neither.
    """
    if re.fullmatch(r"[1-9]\d{0,8}", text):
        return Sampling(frames=int(text))
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?s", text) and float(text[:-1]) > 0:
        return Sampling(seconds=float(text[:-1]))
    raise ConfigError("every to be a number of frames such as 10, or seconds such as 0.5s", repr(text), "change every")


def open_capture(source: str | int, options: str, limits: ImageLimits) -> cv2.VideoCapture | None:
    """Open a file, a stream or a camera's number; None when it does not open.

    Args:
        source: path, URL or number.
        options: of ffmpeg, see `deploy.scoring.sources.address`.
        limits: on the size of frames, as the header has it; ffmpeg may decode a first one to learn what is in it.

    Raises:
        ImageError: the frames are too large or too small, or the name is no text, by which OpenCV ends the process.
    """
    if isinstance(source, str) and any("\ud800" <= character <= "\udfff" for character in source):
        raise ImageError("a video whose name is in UTF-8", source, "rename it")
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
    with _opening, _environment(_OPTIONS, options), _silent_opencv():
        if isinstance(source, int):
            capture = cv2.VideoCapture(source)
        else:
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts)
    if not capture.isOpened():
        capture.release()
        return None
    try:
        width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width and height:  # a stream may know its size only with its first frame
            check_size(height, width, limits)
    except BaseException:
        capture.release()
        raise
    return capture


def retrieve(capture: cv2.VideoCapture, limits: ImageLimits) -> NDArray[np.uint8] | None:
    """The grabbed frame, uint8 BGR (H, W, 3), an array of its own; None when it does not decode.

    Raises:
        ImageError: it is too large or too small: a stream may change its size at any time.
    """
    decoded, frame = capture.retrieve()
    if not decoded or frame is None:
        return None
    check_size(frame.shape[0], frame.shape[1], limits)
    if frame.ndim == 2:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    return np.array(frame, dtype=np.uint8)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what fails is told in our own sentence
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _silent_opencv() -> Iterator[None]:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
