"""Videos, made frame by frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def frame(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame whose brightest cell is 5 a number."""
    pixels = np.random.default_rng(number).integers(0, 9, (*size, 3), dtype=np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = 5 * number
    return pixels


def write_video(path: Path, count: int = 40, codec: str = "MJPG") -> Path:
    """A video of 10 frames a second."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(frame(number % 50))
    writer.release()
    return path
