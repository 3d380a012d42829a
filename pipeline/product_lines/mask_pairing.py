"""Which mask belongs to which defective image: by their places below their folders, without suffix.

Names are compared as people read them: in Unicode's composed form (macOS writes the other one), and where nothing has
exactly that name, without regard to case. Where two images or two masks would do, the line is refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import LineError
from pipeline.imaging.files import iter_image_files
from pipeline.unicode_names import composed

_MASK_SUFFIX = "_mask"
_BESIDE_IMAGES = (_MASK_SUFFIX, "_gt")


def pair_masks(images: Sequence[Path], folder: Path, mask_folders: Sequence[Path], *, flat: bool) -> dict[Path, Path]:
    """The mask of each image that has one.

    Args:
        images: below `folder`.
        folder: whose tree the mask folders repeat.
        mask_folders: the first that has a mask wins; in each, <stem>_mask wins over <stem>.
        flat: a mask that lies directly in a mask folder may belong to an image deeper below `folder`.

    Raises:
        LineError: one mask for two images, or two for one.
        StorageError: a folder cannot be listed.
    """
    masks = _Masks(mask_folders)
    keys = {image: key_of(image, folder) for image in images}
    names = Counter(key.casefold() for key in keys.values())
    stems = Counter(_stem(key).casefold() for key in keys.values())
    pairs: dict[Path, Path] = {}
    for image, key in keys.items():
        mask = masks.find(key, alone=names[key.casefold()] == 1)
        if mask is None and flat and "/" in key:
            mask = masks.find(_stem(key), alone=True)
            if mask is not None and (count := stems[_stem(key).casefold()]) > 1:
                got = f"{mask} for {count} images called {image.stem!r}"
                raise LineError("one image for each mask", got, f"move it to {folder.parent.name}/masks/<kind>/")
        if mask is not None:
            pairs[image] = mask
    _refuse_shared(pairs)
    return pairs


def key_of(path: Path, folder: Path) -> str:
    """A file's place under a folder, without its suffix, in composed Unicode: what an image shares with its mask."""
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def refuse_masks_beside(images: Sequence[Path]) -> None:
    """See that no image is the mask of another one in its folder, as `0_mask.png` beside `0.png`: it would be learned.

    Raises:
        LineError: one is.
    """
    names = {(image.parent, composed(image.stem).casefold()) for image in images}
    for image in images:
        stem = composed(image.stem).casefold()
        for suffix in _BESIDE_IMAGES:
            if stem.endswith(suffix) and (image.parent, stem.removesuffix(suffix)) in names:
                got = f"{image.name} beside its image in {image.parent}"
                raise LineError("masks in a folder of their own", got, "move the masks to masks/ or ground_truth/")


class _Masks:
    """The masks of some folders by their images' keys, the preferred ones first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._exact: dict[str, list[tuple[int, Path]]] = defaultdict(list)
        for place, folder in enumerate(folders):
            for path in iter_image_files(folder) if folder.is_dir() else ():
                key = key_of(path, folder)
                named_mask = key.casefold().endswith(_MASK_SUFFIX)
                self._exact[key].append((2 * place + 1, path))
                if named_mask:
                    self._exact[key[: -len(_MASK_SUFFIX)]].append((2 * place, path))
        self._any_case: dict[str, list[tuple[int, Path]]] = defaultdict(list)
        for key, found in self._exact.items():
            self._any_case[key.casefold()] += found

    def find(self, key: str, *, alone: bool) -> Path | None:
        """The mask of the image with this key; `alone`: no other image has it in another case."""
        found = self._exact.get(key) or (self._any_case.get(key.casefold(), []) if alone else [])
        best = sorted(path for rank, path in found if rank == min(rank for rank, _ in found))
        if len(best) > 1:
            got = f"{best[0]} and {best[1].name} for {key!r}"
            raise LineError("one mask for each image", got, "move all but the right one away")
        return best[0] if best else None


def _refuse_shared(pairs: dict[Path, Path]) -> None:
    images: dict[Path, Path] = {}
    for image, mask in pairs.items():
        other = images.setdefault(mask, image)
        if other != image:
            got = f"{mask} for {other} and {image.name}"
            raise LineError("one image for each mask", got, "rename one of the images, and its mask, if it has one")


def _stem(key: str) -> str:
    return key.rpartition("/")[2]
