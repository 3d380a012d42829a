"""Whether an image is of its line at all: another product, a camera that fails, another camera setting.

A score says how anomalous a part is. An image without the part (a cap on the lens, half a frame, another product) has
none to judge, and need not even score high. So an image is first held against what all images of the support show:
how much of it is black, white or grey without noise, its colour cast and how fine its detail is (`pipeline.look`), how
bright its pixels are (`pipeline.tones`), the sides' ratio, the picture where all show one (`pipeline.layout`), and how
far its features, as a whole, lie from the support's (`pipeline.support_distance`). The margins are wide: a defect
changes a part of the image, what is meant here nearly all of it (`benchmarks/unlike.md`). Torch-free: this is asked for
every image that is scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.encoded import size_text
from pipeline.imaging.images import DecodedImage
from pipeline.imaging.placement import Placement
from pipeline.layout import Layout, layout_of
from pipeline.look import Look, even_or_white, look_of
from pipeline.look_figures import LookFigures, figures_of
from pipeline.tones import Tones, tones_of

_MORE, _MORE_CAST = 0.4, 0.25  # the most above the support that good images of real lines had: 0.36, and 0.11
_BLUR, _BLUR_SIDE = 0.7, 256
"""A good image's detail was up to 0.43 coarser than that of the support. The margin grows with the root of the model's
side: the finest detail of larger images goes with a slight blur."""
_ASPECTS = 1.05  # 4:3 and 5:4 differ by 1.07

_SIZES = 8  # that a bundle tells of

UNLIKE = "unlike the line"
"""How the reason begins where an image as a whole is none of the line's."""


@dataclass(frozen=True)
class Seen:
    """An image as scoring sees it.

    Args:
        pixels: uint8 RGB (H, W, 3) at model size.
        size: (height, width) of the upright image.
        colour: whether it is stored in colour; None: a stream's frame does not tell.
        bits: of a stored value, 8 or 16; None: as `colour`.
        placement: where alignment found the part; None: the line's parts are not aligned.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    colour: bool | None = None
    bits: int | None = None
    placement: Placement | None = None

    @cached_property
    def look(self) -> Look:
        """Of the pixels, taken once."""
        return look_of(self.pixels)

    @cached_property
    def figures(self) -> LookFigures:
        """Of the look, taken once."""
        return figures_of(self.look)

    @property
    def depth(self) -> int | None:
        """Bits of a stored pixel: 8 or 16, or three times as many in colour; None: nobody knows."""
        return None if self.bits is None or self.colour is None else self.bits * (3 if self.colour else 1)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Bounds on what an image of a line looks like.

    Args:
        distance: largest distance of its features, as a whole, to the support's.
        black: largest share of black pixels, like `white` and `even` with a margin above the support's; see `Look` of
            `pipeline.look`.
        white: likewise.
        even: likewise.
        cast_low: smallest colour cast, with a margin; of red, green and blue.
        cast_high: largest.
        sizes: (height, width) of the support's images, each once; of many the narrowest and the widest.
        colours: whether they are stored in colour, each answer once.
        images: of the support.
        fineness: smallest, with a margin below the support's; see `Look`.
        layout: the picture that its images show; None: several.
        tones: how bright their pixels are.

    Bundles of format 5 have none of the last three, those of format 6 no tones.
    """

    distance: float
    black: float
    white: float
    even: float
    cast_low: tuple[float, float, float]
    cast_high: tuple[float, float, float]
    sizes: tuple[tuple[int, int], ...]
    colours: tuple[bool, ...]
    images: int
    fineness: float | None = None
    layout: Layout | None = None
    tones: Tones | None = None

    @property
    def aspects(self) -> tuple[float, float] | None:
        """Smallest and largest ratio of width to height that fit the line's.

        None: there is no such thing, as the support's images are cut to several, or a single one does not tell.
        """
        ratios = [width / height for height, width in self.sizes]
        if self.images < 2 or max(ratios) > _ASPECTS * min(ratios):
            return None
        return min(ratios) / _ASPECTS, max(ratios) * _ASPECTS

    def problem(self, seen: Seen, distance: float | None) -> str | None:
        """Why an image is none of the line's; None where it may be.

        Args:
            seen: the image.
            distance: of its features, as a whole, to the support's; None: its head does not say.
        """
        problem = self._squashed(seen.size) or (None if seen.placement is None else seen.placement.problem)
        problem = problem or self._odd(seen.look)
        if problem is None and distance is not None and not distance <= self.distance:
            problem = "another product, or the camera is moved, defocused or disturbed"
        return None if problem is None else f"{UNLIKE}: {problem}"

    def _squashed(self, size: tuple[int, int]) -> str | None:
        height, width = size
        if (aspects := self.aspects) is None or aspects[0] <= width / height <= aspects[1]:
            return None
        known = " and ".join(size_text(size) for size in self.sizes[:2])
        return f"{size_text(size)} have other proportions than {known}, and are squashed otherwise"

    def _odd(self, look: Look) -> str | None:
        """What about the picture itself is."""
        for share, bound, what in (
            (look.black, self.black, "black"),
            (look.white, self.white, "white"),
            (look.even, self.even, "of one value"),
        ):
            if share > bound:
                return f"{share:.0%} of the image is {what}, and no more than {bound:.0%} should be"
        for name, value, low, high in zip(
            ("red", "green", "blue"), look.cast, self.cast_low, self.cast_high, strict=True
        ):
            if not low <= value <= high:
                return f"too {'little' if value < low else 'much'} {name}"
        if self.fineness is not None and look.fineness < self.fineness:
            return "it is blurred: the camera is defocused, or something lies on the lens"
        if self.tones is not None and (strange := self.tones.strange(look.tones)) > self.tones.most:
            return f"{strange:.0%} of the image is of a brightness that is new: another exposure, light or product"
        if self.layout is not None and not self.layout.fits(look.half):
            return "it shows another scene: the camera is moved, the part lies otherwise, or it is another product"
        return None

    def remark(self, seen: Seen) -> str | None:
        """What someone should know of an image that may well be of the line; equal for all images of its kind."""
        if seen.colour is not None and seen.colour not in self.colours:
            got, known = ("colour", "mono") if seen.colour else ("mono", "colour")
            return f"Some images are {got}, and the line was adapted from {known} ones: set the camera as it was."
        if len(self.sizes) == 1 and seen.size not in self.sizes:
            known = f"{size_text(self.sizes[0])} that the line was adapted from"
            return f"Some images have another size than the {known}: fine detail looks otherwise in them."
        return None

    def support_remarks(self) -> list[str]:
        """What is odd about the support itself, in sentences."""
        told = []
        if len(self.colours) > 1:
            told.append("Some images are mono and some in colour: take all of them with one camera setting.")
        ratios = [width / height for height, width in self.sizes]
        if max(ratios) > _ASPECTS * min(ratios):
            told.append(
                f"The images are {min(ratios):.2f} to {max(ratios):.2f} times as wide as high, each is squashed to a "
                "square: none will be told apart by its proportions."
            )
        return told


def likeness_of(
    good: Sequence[DecodedImage],
    defective: Sequence[DecodedImage],
    distance: float,
    *,
    sizes: Sequence[tuple[int, int]] | None = None,
    any_angle: bool = False,
) -> Likeness:
    """The bounds that a support's images set.

    Args:
        good: all of them, or as many as say what they look like.
        defective: likewise; may be empty.
        distance: as in `Likeness`.
        sizes: (height, width) of every image of the support; None: of these.
        any_angle: whether parts may lie otherwise than in these images.
    """
    images = (*good, *defective)
    sizes = sizes or [image.source_size for image in images]
    each = sorted(dict.fromkeys(sizes), key=lambda size: size[1] / size[0])
    looks = [look_of(image.pixels) for image in images]
    casts = np.array([look.cast for look in looks])
    halves, side = [look.half for look in looks], min(images[0].pixels.shape[:2])
    low, high = casts.min(0) - _MORE_CAST, casts.max(0) + _MORE_CAST
    return Likeness(
        distance=distance,
        black=min(1.0, max(look.black for look in looks) + _MORE),
        white=min(1.0, max(look.white for look in looks) + _MORE),
        even=min(1.0, max(even_or_white(image.pixels) for image in images) + _MORE),
        cast_low=(float(low[0]), float(low[1]), float(low[2])),
        cast_high=(float(high[0]), float(high[1]), float(high[2])),
        sizes=tuple(each if len(each) <= _SIZES else (each[0], each[-1])),
        colours=tuple(dict.fromkeys(image.colour for image in images)),
        images=len(sizes),
        fineness=min(look.fineness for look in looks) - _BLUR * max(1.0, math.sqrt(side / _BLUR_SIDE)),
        layout=None if any_angle else layout_of(halves[: len(good)], halves[len(good) :]),
        tones=tones_of([look.tones for look in looks]),
    )
