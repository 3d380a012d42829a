"""A small sound line in the MVTec AD layout, to be made worse, and what a check says of it."""

import os
from pathlib import Path

import cv2
import numpy as np

from pipeline.product_lines.line_report import LineReport


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth colour picture; every seed a different one."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: np.ndarray, *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(os.fspath(path), pixels, options)
    return path


def mask(height: int = 96, width: int = 128, *, marked: bool = True) -> np.ndarray:
    pixels = np.zeros((height, width), np.uint8)
    pixels[4:9, 10:20] = 255 if marked else 0
    return pixels


def sound_line(root: Path) -> Path:
    """Four good training images, two good test images and two cracks with masks: nothing wrong."""
    for number in range(4):
        save(root / f"train/good/{number}.png", picture(number))
    for number in range(2):
        save(root / f"test/good/{number}.png", picture(10 + number))
        save(root / f"test/crack/{number}.png", picture(20 + number))
        save(root / f"ground_truth/crack/{number}_mask.png", mask())
    return root


def sentences(report: LineReport) -> list[tuple[str, str]]:
    return [(problem.severity.value, problem.sentence) for problem in report.problems]
