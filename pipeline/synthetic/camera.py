"""The camera of a generated line: uneven light and white balance before, blur and noise after a defect is painted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.fields import Field, blur, log_uniform, pixel_grid, white_noise
from pipeline.synthetic.products import Drawing


class Camera:
    """A line's light and sensor; exposure and light fall vary a little from image to image."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._gradient = rng.normal(0, 0.12, 2)
        self._vignette = rng.uniform(0, 0.25) if rng.uniform() < 0.5 else 0.0
        self._balance = rng.normal(1, 0.03, 3)
        self._flicker = log_uniform(rng, 0.005, 0.05)
        self._sway = log_uniform(rng, 0.005, 0.04)
        self._sharpness = rng.uniform(0.35, 0.9)
        self._noise = log_uniform(rng, 0.7, 5)
        self._grey = bool(rng.uniform() < 0.15)

    def illuminate(self, drawing: Drawing, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The drawing under this image's light: uint8 (S, S, 3), before blur and noise."""
        size = drawing.image.shape[0]
        x, y = pixel_grid((size, size))
        x, y = x / size - 0.5, y / size - 0.5
        slope = self._gradient + rng.normal(0, self._sway, 2)
        light = 1 + rng.normal(0, self._flicker) + slope[0] * x + slope[1] * y - self._vignette * (x**2 + y**2)
        image = drawing.image * self._balance.astype(np.float32)
        image *= light.astype(np.float32)[..., None]
        if self._grey:
            image = np.repeat(image.mean(2, keepdims=True), 3, axis=2)
        return _quantised(_shoulder(image))

    def expose(self, scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """What the sensor makes of a scene: slightly blurred, with noise (one channel's on a grey camera)."""
        size = scene.shape[0]
        sharp = blur(scene.astype(np.float32), self._sharpness * size / 256)
        noise = white_noise(rng, (size, size, 1 if self._grey else 3))
        noise *= np.float32(self._noise)
        sharp += noise
        return _quantised(sharp)


def _shoulder(image: Field) -> Field:
    """Highlights above 225 are compressed instead of cut off; changes `image`."""
    bright = image > 225
    if bright.any():
        over = image[bright] - 225
        image[bright] = 225 + over / (1 + over / 30)
    return image


def _quantised(image: Field) -> NDArray[np.uint8]:
    """To the nearest of 0..255; changes `image`."""
    np.rint(image, out=image)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)
