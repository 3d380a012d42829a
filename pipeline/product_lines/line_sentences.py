"""What is said of files in a line's folder: which they are, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.product_lines.layout_names import DEFECT, GOOD, meant_by
from pipeline.product_lines.lines import MASK_FOLDERS
from pipeline.product_lines.mask_check import ExaminedMask
from pipeline.unicode_names import one_line

_READ = (GOOD, DEFECT, *MASK_FOLDERS)
_NAMED = 3  # files that a sentence names before it only counts


def mask_sentences(root: Path, masks: Sequence[ExaminedMask]) -> Iterator[str]:
    """What is said of masks that can be read, with file names relative to `root`."""
    nearly_all = [_named_below(root, mask.path) for mask in masks if mask.marks_nearly_all]
    as_upright = [_named_below(root, mask.path) for mask in masks if mask.taken_as_upright]
    if nearly_all:
        yield (
            f"{how_many(nearly_all, 'mask')} with nearly all of the image marked, {first_few(nearly_all)}: inverted "
            "(white is sound), a label map or palette whose background is not 0, or a picture with the mask in its "
            "alpha channel? Save masks that are 0 wherever the part is sound."
        )
    if as_upright:
        yield (
            f"{how_many(as_upright, 'mask')} of images that EXIF turns or mirrors, taken as drawn on the upright "
            f"image, as viewers show it: {first_few(as_upright)}. Were they drawn on the pixels as stored, save the "
            "images without their EXIF orientation."
        )


def empty_mask_sentences(root: Path, masks: Sequence[Path]) -> Iterator[str]:
    """What is said of defects' masks that mark nothing."""
    if masks:
        yield f"{how_many(masks, 'mask')} without a marked pixel: {named(root, masks)}."


def mosaic_sentences(root: Path, mosaics: Sequence[Path], grey: int) -> Iterator[str]:
    """What is said where most of a line's `grey` images of one channel look like Bayer mosaics."""
    if mosaics and 2 * len(mosaics) >= grey:
        yield (
            f"{how_many(mosaics, 'image')} of one channel with a colour sensor's checker, {named(root, mosaics)}: "
            "Bayer mosaics? They are read as grey. Where they are and colour matters, let the camera make the "
            "colours, or state its pattern, such as --bayer RGGB."
        )


def unused_sentences(root: Path, unused: tuple[Path, ...]) -> Iterator[str]:
    """What is said of image files that are no image and no mask of a line, with the names that their folders need."""
    if unused:
        folders = dict.fromkeys(path.relative_to(root).parts[0] for path in unused if path.parent != root)
        meant = [(folder, meant_by(folder)) for folder in folders]
        hints = [f"rename {folder}/ to {name}/" for folder, name in meant if name and folder not in _READ]
        hint = f": {' and '.join(hints)}, if that is what it holds" if hints else ""
        yield f"{how_many(unused, 'image file')} not used in this layout: {named(root, unused)}{hint}."


def named(root: Path, paths: Iterable[Path]) -> str:
    """The first of some files in a line's folder, and how many more there are."""
    return first_few([_named_below(root, path) for path in paths])


def _named_below(root: Path, path: Path) -> str:
    """An image that somebody judged at the plant lies elsewhere, and is called by its whole path."""
    return one_line((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def first_few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def how_many(things: Iterable[object], noun: str) -> str:
    """How many of a noun there are."""
    number = len(list(things))
    return f"{number} {noun}" + ("" if number == 1 else "s")
