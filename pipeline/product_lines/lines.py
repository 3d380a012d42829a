"""A product line on disk: MVTec AD layout, or simply `good/` and `defect/` (masks optional).

    MVTec AD layout                             simple layout
    train/good/*.png                            good/*.png
    test/good/*.png                             defect/*.png  or  defect/<kind>/*.png
    test/<kind>/*.png                           masks/ or ground_truth/, arranged like defect/ or flat:
    ground_truth/<kind>/<stem>_mask.png             <stem>.png or <stem>_mask.png
        (or <stem>.png)

Files that are not images are ignored, and so is everything hidden or made by a system (`pipeline.system_files`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import LineError, StorageError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.files import instead_of_empty, instead_of_folder, is_image_name, iter_image_files
from pipeline.imaging.not_read import NotRead
from pipeline.product_lines.layout_names import DEFECT, GOOD, MASKS, meant_by, surely_masks
from pipeline.product_lines.mask_pairing import pair_masks, refuse_masks_beside
from pipeline.system_files import is_passed_over

if TYPE_CHECKING:  # listing a line decodes nothing
    from pipeline.camera_shift import CameraShift

MASK_FOLDERS = (MASKS, "ground_truth")
"""Where masks lie; in the simple layout the first one wins."""
_LAYOUTS = "train/good/ with images (MVTec AD layout), or good/ with images"


@dataclass(frozen=True)
class ImageRecord:
    """One image of a line. `kind` is "good" or the defect's name; `mask_path` only for defects that have one.

    `shift` is the change of camera the image is seen under, see `under`; None: as it was taken. `white_level` is what
    the line's camera calls white where a job looks at lines of many cameras, and `bayer` the pattern of its mosaics;
    None: what its `PreprocessSpec` says.
    """

    path: Path
    line: str
    kind: str
    mask_path: Path | None = None
    shift: CameraShift | None = None
    white_level: int | None = None
    bayer: BayerPattern | None = None

    @property
    def is_defect(self) -> bool:
        """Whether the image shows a defect."""
        return self.kind != GOOD

    def under(self, shift: CameraShift) -> ImageRecord:
        """The same image, taken by the changed camera."""
        return replace(self, shift=shift)


@dataclass(frozen=True)
class ProductLine:
    """A product line: records sorted by path.

    `name` is "<data set>/<line>" when found below a data-set folder, else the folder's name. `data_set` groups close
    relatives: lines of one data set never straddle a split.
    """

    name: str
    data_set: str
    root: Path
    train_good: tuple[ImageRecord, ...]
    test_good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]

    @property
    def has_masks(self) -> bool:
        """Whether any defect has a mask."""
        return any(record.mask_path is not None for record in self.defects)


def load_line(path: Path) -> ProductLine:
    """The line in a folder, named after it.

    In the simple layout every good image is `train_good` and `test_good` is empty.

    Raises:
        LineError: not a folder, empty, without good images, or with masks that cannot be told apart.
    """
    name = Path(os.path.realpath(path)).name
    return load_named_line(path, name=name, data_set=name)


def find_lines(root: Path) -> list[ProductLine]:
    """The lines under a folder, sorted by name: the folder itself, or <line>, or <data set>/<line>.

    A line directly under the root is a data set of its own.

    Raises:
        LineError: not a folder, no line in it, or one of its lines is unusable.
    """
    with _listing():
        return _find_lines(root)


def _find_lines(root: Path) -> list[ProductLine]:
    _require_folder(root)
    if _looks_like_line(root):
        return [load_line(root)]
    lines: list[ProductLine] = []
    for folder in _folders(root):
        if _looks_like_line(folder):
            lines.append(load_named_line(folder, name=folder.name, data_set=folder.name))
            continue
        lines += [
            load_named_line(below, name=f"{folder.name}/{below.name}", data_set=folder.name)
            for below in _folders(folder)
            if _looks_like_line(below)
        ]
    if not lines and _loose_images(root):
        return [load_line(root)]  # which says what to do about them
    if not lines:
        got = f"none in {root} or two levels below{_but_not_read(root)}"
        raise LineError(f"product lines with {_LAYOUTS}", got, instead_of_empty(root, "check the folder"))
    return sorted(lines, key=lambda line: line.name)


def load_named_line(path: Path, *, name: str, data_set: str) -> ProductLine:
    """The line in a folder, under a given name. Raises `LineError` as `load_line` does."""
    with _listing():
        _require_folder(path)
        if all(is_passed_over(entry.name) for entry in path.iterdir()):
            got = f"an empty folder, {path}"
            raise LineError(f"a product line with {_LAYOUTS}", got, "copy the line's images there")
        if (path / "train").is_dir():
            return _load_mvtec(path, name, data_set)
        return _load_simple(path, name, data_set)


def _load_mvtec(path: Path, name: str, data_set: str) -> ProductLine:
    _refuse_3d(path)
    test, truth = path / "test", path / "ground_truth"
    kinds = [folder for folder in _folders(test) if folder.name != GOOD] if test.is_dir() else []
    for kind in kinds:
        if meant_by(kind.name) == GOOD:
            raise LineError(f"good test images in test/{GOOD}/", f"{kind}/", f"rename it to {GOOD}")
    images = [image for kind in kinds for image in _images(kind)]
    return ProductLine(
        name=name,
        data_set=data_set,
        root=path,
        train_good=_good_records(path / "train" / GOOD, name, required_by=path),
        test_good=_good_records(test / GOOD, name),
        defects=_defects(images, test, [truth], name, flat=False),
    )


def _load_simple(path: Path, name: str, data_set: str) -> ProductLine:
    good = _good_records(path / GOOD, name, required_by=path)
    return ProductLine(
        name=name, data_set=data_set, root=path, train_good=good, test_good=(), defects=_simple_defects(path, name)
    )


def _simple_defects(path: Path, name: str) -> tuple[ImageRecord, ...]:
    folder = path / DEFECT
    images = _images(folder)
    for kind in sorted({image.relative_to(folder).parts[0] for image in images if image.parent != folder}):
        if meant_by(kind) == GOOD:
            got = f"a kind of defect called {kind!r} in {path}"
            raise LineError("defects under their own names", got, "move its images to good/ or rename the folder")
    return _defects(images, folder, [path / masks for masks in MASK_FOLDERS], name, flat=True)


def _defects(
    images: Sequence[Path], folder: Path, mask_folders: Sequence[Path], name: str, *, flat: bool
) -> tuple[ImageRecord, ...]:
    masks = pair_masks(images, folder, mask_folders, flat=flat)
    records = []
    for image in images:
        parts = image.relative_to(folder).parts
        kind = parts[0] if len(parts) > 1 else DEFECT
        records.append(ImageRecord(image, name, kind, masks.get(image)))
    return _sorted(records)


def _good_records(folder: Path, name: str, *, required_by: Path | None = None) -> tuple[ImageRecord, ...]:
    records = _sorted([ImageRecord(image, name, GOOD) for image in _images(folder)])
    if required_by is not None and not records:
        got, remedy = f"no good image in {required_by}", (copy := "copy images of good parts there")
        if (loose := _loose_images(required_by)) and not (required_by / DEFECT).is_dir():
            got = f"{got}, which itself holds {loose}"
            remedy = "move those of good parts to good/, and those of defective ones to defect/"
        for other in _good_by_another_name(folder.parent):
            got, remedy = f"{got}, but a folder {other.name}/", f"rename {other.name}/ to {GOOD}/"
        if remedy == copy:
            got, remedy = f"{got}{_but_not_read(required_by)}", instead_of_empty(required_by, copy)
        raise LineError(f"a product line with {_LAYOUTS}", got, remedy)
    return records


def _images(folder: Path) -> list[Path]:
    """The images below a folder of parts, where no mask may be among them."""
    images = list(iter_image_files(folder)) if folder.is_dir() else []
    for image in images:
        if any(surely_masks(part) for part in image.relative_to(folder).parts[:-1]):
            got = f"{image.parent}/ among the images of parts"
            raise LineError("masks in a folder of their own", got, "move the masks to masks/ or ground_truth/")
    refuse_masks_beside(images)
    return images


def _sorted(records: list[ImageRecord]) -> tuple[ImageRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.path))


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_passed_over(entry.name))


def _refuse_3d(path: Path) -> None:
    """See that a line is not in MVTec 3D-AD's layout, where ground truth and point clouds lie among the images.

    Raises:
        LineError: it is.
    """
    for folder in [path / "train" / GOOD, *(_folders(path / "test") if (path / "test").is_dir() else [])]:
        has = {part: os.path.isdir(folder / part) for part in ("rgb", "gt", "xyz")}  # noqa: PTH112 - no, where it is closed
        if has["rgb"] and (has["gt"] or has["xyz"]):
            got = f"MVTec 3D-AD's, with rgb/ beside gt/ or xyz/ in {folder}"
            raise LineError("an MVTec AD layout", got, "bring it over: linewise lines import mvtec3d")


def _looks_like_line(folder: Path) -> bool:
    """Whether it is a line, or would be with its good parts under the right name, which loading then says."""
    if holds_good_parts(folder):
        return True
    others = [*_good_by_another_name(folder / "train"), *_good_by_another_name(folder)]
    if not others or any(
        holds_good_parts(below) for below in _folders(folder)
    ):  # a line or a data set may be called ok, too
        return False
    return any(next(iter(iter_image_files(other)), None) is not None for other in others)


def holds_good_parts(folder: Path) -> bool:
    """Whether a folder has the one in which good parts lie, as a line's has in either layout."""
    return (folder / "train" / GOOD).is_dir() or (folder / GOOD).is_dir()


def _loose_images(folder: Path) -> str:
    """How many images lie in a folder itself, in words; empty: none."""
    count = sum(is_image_name(entry.name) and not is_passed_over(entry.name) for entry in folder.iterdir())
    return f"{count} image{'' if count == 1 else 's'}" if count else ""


def _but_not_read(folder: Path) -> str:
    """What lies in a folder and is not read, such as photographs in HEIC or an archive; empty: nothing."""
    not_read = NotRead(folder)
    for _ in iter_image_files(folder, not_read.see):
        pass
    return f", but {not_read.found}" if not_read.found else ""


def _good_by_another_name(room: Path) -> list[Path]:
    """Folders such as ok/ or Good/ in a line's folder or its train/."""
    folders = _folders(room) if room.is_dir() else []
    return [folder for folder in folders if folder.name != GOOD and meant_by(folder.name) == GOOD]


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        got = f"a file, {path}" if path.exists() else f"no such folder as {path}"
        raise LineError("a folder with a product line", got, instead_of_folder(path))


@contextmanager
def _listing() -> Iterator[None]:
    """Turns what keeps a folder from being listed into a `LineError`."""
    try:
        yield
    except StorageError as error:
        raise LineError(error.expected, error.got, error.remedy) from error
    except OSError as error:
        got = f"{error.strerror or error} at {error.filename}"
        raise LineError("a folder that can be listed", got, "grant access to it") from error
