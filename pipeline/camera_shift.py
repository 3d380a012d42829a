"""Camera shifts: what a line's images look like after its camera changed. For evaluations of domain shift.

A shift is a fixed function of an image's pixels and contents: the seed decides which way the camera changed, the same
for every image of the line; only noise differs from image to image, and follows from the image's sha256. At strength 1,
with lengths for an image of 256 pixels a side and strength s scaling all of them:

- **light**: 35 % brighter or 26 % darker (gain e^{+-0.3 s}), warmer or colder (red e^{+-0.08 s}, blue the inverse).
- **blur**: out of focus, a Gaussian of 1.2 s pixels.
- **noise**: Gaussian noise of 8 s grey levels.
- **camera**: another camera's file: gamma e^{+-0.25 s}, corners 35 s % darker, JPEG of quality 100 - 60 s (at least 5).
- **magnification**: nearer by 12 s %, cropped to the frame at a place that the seed decides; masks move with the image.

A grey image stays grey: its light has no colour, and its channels share their noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.synthetic.fields import blur, pixel_grid, white_noise

Pixels = NDArray[np.uint8]

VERSION = 1
"""Part of the cache key of shifted images: raise it when a shift gives other pixels for equal arguments."""


@dataclass(frozen=True)
class CameraShift:
    """A change of camera.

    Args:
        name: of `SHIFTS`.
        strength: above 0, at most 2; see the module.
        seed: of the camera's change.

    Raises:
        ConfigError: an unknown name, or a strength out of range.
    """

    name: str
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in SHIFTS:
            raise ConfigError("the name of a camera shift", repr(self.name), f"use one of: {', '.join(SHIFTS)}")
        if not 0 < self.strength <= 2:
            raise ConfigError("a shift's strength above 0, at most 2", str(self.strength), "choose one, e.g. 1")

    @property
    def key(self) -> str:
        """Names the shift completely, for cache keys."""
        return f"shift:{VERSION}:{self.name}:{self.strength!r}:{self.seed}"

    @property
    def moves(self) -> bool:
        """Whether things stand elsewhere in the shifted image, and some may be out of view."""
        return self.name == "magnification"

    def apply(self, pixels: Pixels, sha256: str) -> Pixels:
        """The image as the changed camera gives it.

        Args:
            pixels: uint8 RGB (H, W, 3).
            sha256: of the image's file, in hexadecimal: what its noise follows from.
        """
        camera = np.random.default_rng(self.seed)
        image = np.random.default_rng([self.seed, int(sha256[:16], 16)])
        return SHIFTS[self.name](pixels, self.strength, camera, image)

    def apply_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The image's defect mask (h, w) after the shift; it need not have the size of the pixels."""
        if not self.moves:
            return mask
        moved = _magnified(mask.astype(np.uint8), self.strength, np.random.default_rng(self.seed), cv2.INTER_NEAREST)
        return moved.astype(np.bool_)


def _light(pixels: Pixels, strength: float, camera: np.random.Generator, _: np.random.Generator) -> Pixels:
    gain, warmth = np.exp(strength * np.array([0.3, 0.08]) * _signs(camera, 2))
    colour = np.ones(3) if _is_grey(pixels) else np.array([warmth, 1, 1 / warmth])
    return _quantised(pixels * (gain * colour).astype(np.float32))


def _blur(pixels: Pixels, strength: float, _camera: np.random.Generator, _: np.random.Generator) -> Pixels:
    return _quantised(blur(pixels.astype(np.float32), 1.2 * strength * max(pixels.shape[:2]) / 256))


def _noise(pixels: Pixels, strength: float, _: np.random.Generator, image: np.random.Generator) -> Pixels:
    noise = white_noise(image, (*pixels.shape[:2], 1 if _is_grey(pixels) else 3))
    return _quantised(pixels + np.float32(8 * strength) * noise)


def _camera(pixels: Pixels, strength: float, camera: np.random.Generator, _: np.random.Generator) -> Pixels:
    gamma = float(np.exp(0.25 * strength * _signs(camera, 1)[0]))
    x, y = pixel_grid((pixels.shape[0], pixels.shape[1]))
    x, y = 2 * (x + 0.5) / pixels.shape[1] - 1, 2 * (y + 0.5) / pixels.shape[0] - 1
    light = 1 - 0.35 * strength * (x**2 + y**2) / 2
    darkened = _quantised(255 * (pixels.astype(np.float32) / 255) ** gamma * light[..., None])
    quality = max(5, round(100 - 60 * strength))
    file = cv2.imencode(".jpg", darkened[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert decoded is not None, "what was just encoded"
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8, copy=False)


def _magnification(pixels: Pixels, strength: float, camera: np.random.Generator, _: np.random.Generator) -> Pixels:
    return _magnified(pixels, strength, camera, cv2.INTER_LINEAR)


def _magnified(image: Pixels, strength: float, camera: np.random.Generator, interpolation: int) -> Pixels:
    """The view of a camera that came nearer, at the image's own size (H, W) or (H, W, 3)."""
    zoom = 1 + 0.12 * strength
    height, width = image.shape[:2]
    left, top = camera.uniform(0, 1 - 1 / zoom, 2)
    # Pixel centres: output x + 0.5 shows input (x + 0.5) / zoom + left * width.
    back = np.array([[1 / zoom, 0, left * width], [0, 1 / zoom, top * height]])
    back[:, 2] += 0.5 / zoom - 0.5
    flags = interpolation | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.uint8, copy=False)


SHIFTS: Mapping[str, Callable[[Pixels, float, np.random.Generator, np.random.Generator], Pixels]] = {
    "light": _light,
    "blur": _blur,
    "noise": _noise,
    "camera": _camera,
    "magnification": _magnification,
}
"""By name: (pixels, strength, the camera's draws, the image's draws) -> pixels."""


def _signs(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], count)


def _is_grey(pixels: Pixels) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _quantised(image: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
