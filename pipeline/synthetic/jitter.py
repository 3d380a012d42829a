"""Photometric jitter of good images. A module of its own: the runtime's commands generate lines, but have no
albumentations.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray


def photometric_jitter(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, contrast, colour, focus and noise changed as between two good images, by albumentations.

    Takes and returns uint8 RGB (H, W, 3). The result depends on `rng` alone.

    Raises:
        ValueError: not a uint8 RGB image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
    # Set before the import, which otherwise asks the network for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A  # noqa: PLC0415 - it imports torch where there is one: seconds, only for who jitters

    jitter = A.Compose(
        [
            A.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.12, p=0.9),
            A.RandomGamma(gamma_limit=(88, 114), p=0.4),
            A.HueSaturationValue(hue_shift_limit=4, sat_shift_limit=12, val_shift_limit=6, p=0.4),
            A.GaussianBlur(sigma_limit=(0.2, 0.8), blur_limit=0, p=0.25),
            A.GaussNoise(std_range=(0.004, 0.02), p=0.4),
        ],
        seed=int(rng.integers(2**31)),
    )
    return np.asarray(jitter(image=image)["image"], np.uint8)
