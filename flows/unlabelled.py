"""A line's unlabelled images: which they are, and what is left out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.engine.limits import available_cpus
from deploy.scoring.sources.line_masks import LineMasks, draws_region
from pipeline.errors import LineError
from pipeline.imaging.files import instead_of_empty, instead_of_folder, iter_image_files
from pipeline.imaging.images import DecodedImage, PreprocessSpec, UnreadableImage, read_image
from pipeline.imaging.not_read import NotRead
from pipeline.imaging.white_level import depth_problem
from pipeline.product_lines.lines import ImageRecord
from pipeline.repeated_parts import repeated, thumbnail
from pipeline.unicode_names import one_line

UNLABELLED = "unlabelled"
"""The kind of their records."""
_MOST_AGAIN = 2
"""Images that show a part again are replaced by others until so many times the limit were left out."""
_MOST_SHOWN = 5000  # labelled images that the unlabelled ones are held against: each is decoded for it


class Candidate(NamedTuple):
    """A file that may be an unlabelled image; `sha256`: only where it still has this content."""

    path: Path
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Files that may be unlabelled images; `where` they are in words, "in FOLDER"; sentences on what else is there."""

    files: tuple[Candidate, ...]
    where: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """A line's unlabelled images, and sentences on what is left out."""

    records: tuple[ImageRecord, ...]
    remarks: tuple[str, ...]


def images_below(folder: Path) -> Candidates:
    """The image files of a folder, in folders of any depth, but for the masks of a line in it.

    Raises:
        LineError: no such folder, or only files in it that are not read.
        StorageError: it cannot be listed.
    """
    if not folder.is_dir():
        got = f"a file, {folder}" if folder.is_file() else f"no folder {folder}"
        raise LineError("a folder of unlabelled images", got, instead_of_folder(folder))
    not_read, masks = NotRead(folder), LineMasks(folder)
    paths = iter_image_files(folder, not_read.see)
    files = tuple(Candidate(path) for path in paths if not (masks.hold(path.parent) or draws_region(path)))
    if not files and not_read.found:
        got = f"none in {folder}, but {not_read.found}"
        raise LineError("unlabelled images", got, instead_of_empty(folder, "name a folder that holds images"))
    return Candidates(files=files, where=f"in {folder}", remarks=(*not_read.sentences, *masks.sentences))


def draw_unlabelled(
    candidates: Sequence[Candidates],
    labelled: AbstractSet[str],
    preprocess: PreprocessSpec,
    *,
    line: str,
    limit: int,
    seed: int,
    shown: Sequence[NDArray[np.uint8]] = (),
) -> Unlabelled:
    """Usable images, each content once and each part once, none that somebody labelled.

    They are drawn before they are looked at, and one that cannot be used, or shows a part again, is replaced by the
    next drawn: of many files the cost is as of few. Where there are no more than the limit, nothing is drawn.

    Args:
        candidates: where they may be.
        labelled: the contents that somebody labelled.
        preprocess: that they must be readable with.
        line: its name.
        limit: most images to use, drawn by the seed.
        seed: of the draw.
        shown: thumbnails of the labelled images, see `thumbnails_of`.

    Returns:
        The images in the candidates' order, none where all show labelled parts again; what is said of the others is of
        those looked at.

    Raises:
        LineError: no usable image.
        StorageError: a file cannot be read.
    """
    files = [file for found in candidates for file in found.files]
    order = np.random.default_rng(seed).permutation(len(files)) if len(files) > limit else np.arange(len(files))
    waiting, seen, used = iter(order.tolist()), _Seen(labelled), dict[int, NDArray[np.uint8]]()
    while (room := limit - len(used)) and seen.again <= _MOST_AGAIN * limit:
        if not (drawn := dict(islice(seen.usable(files, waiting, preprocess), room))):
            break
        used = seen.without_parts_again(shown, used | drawn)
    if not used and not seen.again:
        where = " or ".join(found.where for found in candidates)
        got = f"none that can be used ({' '.join(seen.remarks()).removesuffix('.')})" if files else "none"
        raise LineError(f"unlabelled images {where}", got, "take others, or do without")
    remarks = [remark for found in candidates for remark in found.remarks] + seen.remarks()
    if seen.count < len(files):
        remarks.append(f"{len(used)} unlabelled images are used, drawn by the seed from {len(files):,} files.")
    records = tuple(ImageRecord(files[index].path, line, UNLABELLED) for index in sorted(used))
    return Unlabelled(records=records, remarks=tuple(remarks))


def thumbnails_of(labelled: Sequence[ImageRecord], preprocess: PreprocessSpec) -> list[NDArray[np.uint8]]:
    """Thumbnails that `draw_unlabelled` holds unlabelled images against; of very many, evenly over them."""
    chosen = np.linspace(0, len(labelled) - 1, min(len(labelled), _MOST_SHOWN)).astype(int)

    def look(index: int) -> NDArray[np.uint8] | None:
        image = read_image(labelled[index].path, preprocess)
        return thumbnail(image.pixels) if isinstance(image, DecodedImage) else None

    with ThreadPoolExecutor(available_cpus()) as pool:
        return [small for small in pool.map(look, chosen.tolist()) if small is not None]


class _Seen:
    """Looks at files, and counts those that are not used."""

    def __init__(self, labelled: AbstractSet[str]) -> None:
        self.count = 0
        self.again = 0
        self._contents = set(labelled)
        self._copies = 0
        self._moved = 0
        self._unusable = list[str]()

    def usable(
        self, files: Sequence[Candidate], order: Iterator[int], preprocess: PreprocessSpec
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Of files in an order, the next ones that can be used, each content once, with their thumbnails."""
        for index in order:
            file, image = files[index], read_image(files[index].path, preprocess)
            self.count += 1
            if file.sha256 not in (None, image.sha256):
                self._moved += 1
            elif isinstance(image, UnreadableImage):
                self._unusable.append(f"{one_line(file.path.name)}: {image.reason}")
            elif problem := depth_problem(image.bit_depth, image.brightest, preprocess.white_level):
                self._unusable.append(f"{one_line(file.path.name)}: {problem}")
            elif image.sha256 in self._contents:
                self._copies += 1
            else:
                self._contents.add(image.sha256)
                yield index, thumbnail(image.pixels)

    def without_parts_again(
        self, shown: Sequence[NDArray[np.uint8]], used: dict[int, NDArray[np.uint8]]
    ) -> dict[int, NDArray[np.uint8]]:
        """Those of the files that show none of the parts shown, nor one that an earlier file shows."""
        again = repeated(np.stack(list(used.values())), np.stack(shown) if shown else None)
        self.again += int(again.sum())
        return {index: used[index] for index, is_again in zip(used, again, strict=True) if not is_again}

    def remarks(self) -> list[str]:
        """Sentences on the others."""
        said = []
        if self._copies:
            said.append(
                f"{_left_out(self._copies, 'unlabelled image')}: {_they(self._copies)} equal to others or labelled."
            )
        if self.again:
            shows = "it shows a part" if self.again == 1 else "they show parts"
            said.append(f"{_left_out(self.again, 'unlabelled image')}: {shows} that other images show, too.")
        if self._moved:
            said.append(f"{_left_out(self._moved, 'scored image')}: {_they(self._moved)} gone or changed since.")
        if self._unusable:
            more = f", and {len(self._unusable) - 1} more" if len(self._unusable) > 1 else ""
            said.append(f"Unlabelled images left out, as they cannot be used: {self._unusable[0]}{more}.")
        return said


def _left_out(count: int, noun: str) -> str:
    return f"{count} {noun}{' is' if count == 1 else 's are'} left out"


def _they(count: int) -> str:
    return "it is" if count == 1 else "they are"
