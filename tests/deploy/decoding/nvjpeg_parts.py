"""JPEGs that nvJPEG decodes and such as it does not, what fails in a GPU's place, and what was said of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from tests.parts.image_files import jpeg, picture

WHOLE = jpeg(picture(480, 640))


def progressive(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def rgb_coded(pixels: np.ndarray) -> bytes:
    """A JPEG whose components are red, green and blue, which Adobe's marker says; the JFIF marker would say YCbCr."""
    data = jpeg(pixels)
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[20:]


def without_quantisation(data: bytes) -> bytes:
    """A whole file with a readable header that no decoder can decode."""
    at = data.index(b"\xff\xdb")
    data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return without_quantisation(data) if b"\xff\xdb" in data else data


def two_frames(data: bytes) -> bytes:
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    huge = frame[:5] + b"\xff\x00\xff\x00" + frame[9:]
    return data[:at] + frame + huge + data[at + len(frame) :]


def failing(error: Exception) -> Callable[..., torch.Tensor]:
    """What a GPU does that has no memory, and a torchvision without nvJPEG: nothing here can do it for real."""

    def decode(*_: object) -> torch.Tensor:
        raise error

    return decode


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
