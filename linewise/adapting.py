"""Adaptation from images in memory: they are laid out as a line's folder, and `linewise adapt`'s job does the rest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile

from flows.adapt.request import AdaptRequest
from pipeline.errors import ConfigError
from pipeline.imaging.arrays import array_image
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import image_limits, naming
from pipeline.product_lines.layout_names import DEFECT, GOOD, MASKS
from pipeline.settings import Settings
from pipeline.storage import storage_errors

_OWN = {"line", "images", "good", "defects"}
"""Fields of the request that are said by the images themselves."""


class Adapted(NamedTuple):
    """The version that was registered, and sentences on what was left out of the images or is odd."""

    version: str
    remarks: tuple[str, ...]


def adapt_line(
    name: str,
    good: Iterable[Any],
    defects: Iterable[Any],
    masks: Sequence[Any] | None,
    *,
    bgr: bool,
    options: Mapping[str, Any],
    settings: Settings,
) -> Adapted:
    """See `linewise.line.Line.adapt`, whose images and options these are."""
    refuse_one_image(good)
    refuse_one_image(defects)
    good, defects = list(good), list(defects)
    if not good:
        raise ConfigError("at least one good image", "none", "pass images of good parts")
    if masks is not None and len(masks) != len(defects):
        got = f"{len(masks)} for {len(defects)}"
        raise ConfigError("a mask, or None, for each defect", got, "pass them in the defects' order")
    if taken := _OWN & options.keys():
        raise ConfigError("options of linewise adapt", ", ".join(sorted(taken)), "pass the images alone")
    with tempfile.TemporaryDirectory(prefix="linewise-adapt-") as folder:
        request = AdaptRequest.asked(line=name, images=Path(folder), **options)
        for number, image in enumerate(good):
            _lay(image, Path(folder, GOOD, f"{number:06}"), bgr=bgr)
        for number, image in enumerate(defects):
            _lay(image, Path(folder, DEFECT, f"{number:06}"), bgr=bgr)
        for number, mask in enumerate(masks or ()):
            if mask is not None:
                _lay(_marked(mask), Path(folder, MASKS, f"{number:06}"), bgr=bgr)
        done = import_module("flows.adapt.job").run(request, settings)  # which loads torch
    return Adapted(done.bundle.manifest.version, done.remarks)


def refuse_one_image(images: Any) -> None:
    """See that images are several: one would be taken apart, into its rows or letters.

    Raises:
        ConfigError: they are one.
    """
    if isinstance(images, np.ndarray):
        of_pixels = images.dtype.kind not in "OSU"  # else an array of paths, of files' bytes or of images
        one = of_pixels and (images.ndim < 3 or (images.ndim == 3 and images.shape[-1] <= 4))  # no stack is so narrow
        got = f"{images.dtype} {images.shape}"
    else:
        one, got = isinstance(images, str | bytes | os.PathLike), repr(images)[:100]
    if one:
        raise ConfigError("a list of images", got, "put it into a list")


def _lay(image: Any, stem: Path, *, bgr: bool) -> None:
    """Write an array without loss; copy a file as it is."""
    if isinstance(image, str | os.PathLike):
        source = Path(image)
        with naming(source):
            image, suffix = read_bytes(source, image_limits().max_bytes), source.suffix
    else:
        suffix = ".png"  # what a file is, its contents say
    with storage_errors(stem):
        stem.parent.mkdir(exist_ok=True)
        if isinstance(image, bytes):
            stem.with_name(f"{stem.name}{suffix}").write_bytes(image)
            return
        array = array_image(image, bgr=bgr)
        pixels = array.decode(0, 0)
        if array.channels == 3 and bgr:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        photometric = "rgb" if array.channels == 3 else "minisblack"
        tifffile.imwrite(stem.with_name(f"{stem.name}.tiff"), pixels, photometric=photometric)


def _marked(mask: Any) -> Any:
    """A mask's array as pixels, white where it is not zero; whatever is no array, as it is."""
    return np.where(mask, np.uint8(255), np.uint8(0)) if isinstance(mask, np.ndarray) else mask
