"""How far another decoder's pixels are from libjpeg's once both went the shared way to the model's size. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipeline.errors import ParityError
from pipeline.imaging.images import Opener, PreprocessSpec, fit_image, image_limits, open_image
from pipeline.synthetic.lines import generate_line

MOST_MEAN = 1.5
"""Accepted mean absolute difference of an image's pixels, in grey levels of 255.

On the same JPEGs libjpeg's own fast modes (inexact inverse DCT, repeated chroma samples) are 1.00 from its exact ones.
"""
MOST = 16
"""Accepted difference of any pixel; those fast modes come to 5. A block or a colour gone wrong is far more."""

_SPEC = PreprocessSpec(height=256, width=256)
_LINE_SEED = 20_000
_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Absolute differences in grey levels over `images` generated JPEGs at 256 px: the worst image's mean, the largest.

    `mean` and `largest` count every channel of every pixel.
    """

    images: int
    mean: float
    largest: int

    def __str__(self) -> str:
        return (
            f"within {self.mean:.2f} grey levels of libjpeg on average and {self.largest} at most on {self.images} "
            f"generated JPEGs at {_SPEC.height} px (accepted: {MOST_MEAN:g} and {MOST})"
        )


def compare_with_libjpeg(opener: Opener) -> Agreement:
    """Decode generated JPEGs with both: such that are halved and such that are not, of three samplings, and a grey one.

    Raises:
        ImageError: the decoder refuses one.
        ParityError: the pixels are farther apart than accepted.
    """
    differences = [_difference(data, opener) for data in generated_jpegs()]
    found = Agreement(
        images=len(differences),
        mean=max(float(difference.mean()) for difference in differences),
        largest=max(int(difference.max()) for difference in differences),
    )
    if found.mean > MOST_MEAN or found.largest > MOST:
        raise ParityError(
            f"pixels within {MOST_MEAN:g} grey levels of libjpeg's on average and {MOST} at most",
            f"a difference of {found.mean:.2f} on average and {found.largest} at most",
            "do not score with this decoder: unset LINEWISE_JPEG_DECODER",
        )
    return found


def generated_jpegs() -> list[bytes]:
    """Four JPEGs of one generated line, the same on every call: 1024 px in 4:4:4, 4:2:0 and grey, 512 px in 4:2:0."""
    large, small = (_picture(size) for size in (1024, 512))
    grey = np.ascontiguousarray(large[:, :, 1:2])
    return [
        simplejpeg.encode_jpeg(large, quality=_QUALITY, colorsubsampling="444"),
        simplejpeg.encode_jpeg(large, quality=_QUALITY, colorsubsampling="420"),
        simplejpeg.encode_jpeg(grey, quality=_QUALITY, colorspace="GRAY", colorsubsampling="Gray"),
        simplejpeg.encode_jpeg(small, quality=_QUALITY, colorsubsampling="420"),
    ]


def _picture(size: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(_LINE_SEED)
    return np.ascontiguousarray(generate_line(_LINE_SEED, size=size).good(rng).image)


def _difference(data: bytes, opener: Opener) -> NDArray[np.int16]:
    pixels, reference = (fit_image(opened(data, image_limits()), _SPEC) for opened in (opener, open_image))
    return np.abs(pixels.astype(np.int16) - reference)
