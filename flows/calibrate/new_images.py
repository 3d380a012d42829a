"""A line's images that its version does not know, and what its own head says of them. Torch-free."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.packs import Deployment
from deploy.engine.batches import padded
from deploy.engine.devices import ResolvedDevice
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import ImageScore
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import Outcome, Ready, ScoringWorker
from flows.calibrate.learned_from import parts_learned_from
from pipeline.calibration import Threshold
from pipeline.errors import LineError
from pipeline.imaging.files import instead_of_folder
from pipeline.imaging.images import Opener, image_limits
from pipeline.likeness import UNLIKE
from pipeline.product_lines.left_out import load_distinct_line
from pipeline.repeated_parts import repeated, thumbnail
from pipeline.unicode_names import one_line

MAX_IMAGES = 5000
"""Images of a kind that are scored, at most: evenly over their folder."""
UNREADABLE, KNOWN, COPY = "unreadable", "known from adaptation", "equal to another"
AGAIN = "showing a part again"
NOT_JUDGED = "without a finite score"


T = TypeVar("T")


class Kind(StrEnum):
    """What is known of an image."""

    GOOD = "good"
    DEFECT = "defective"
    UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class NewImage:
    """What the head says of an image: its score, its map's largest value, the map (h, w) where decisions ask for it."""

    sha256: str
    kind: Kind
    score: float
    peak: float
    anomaly_map: NDArray[np.float32] | None

    def rejected(self, threshold: Threshold) -> bool:
        """Whether a threshold rejects the part."""
        if self.score < threshold.reject:
            return False
        return self.anomaly_map is None or threshold.counts(self.anomaly_map)


@dataclass(frozen=True, kw_only=True)
class NewImages:
    """The images, each content once; how many of the folder were left out, by reason; and sentences on them."""

    images: tuple[NewImage, ...]
    left_out: dict[str, int]
    remarks: tuple[str, ...]

    def of(self, kind: Kind) -> list[NewImage]:
        """Those of a kind."""
        return [image for image in self.images if image.kind is kind]


@dataclass(frozen=True)
class Found:
    """What is in a folder: images of each kind, sentences on the rest, and how many files that is by reason."""

    items: tuple[tuple[Kind, SourceItem], ...]
    remarks: tuple[str, ...]
    left_out: dict[str, int]


def find_labelled(folder: Path) -> Found:
    """The images of a line's folder, by its own labels.

    Raises:
        LineError, StorageError: as `load_distinct_line` says.
    """
    line, left_out = load_distinct_line(folder)
    items: list[tuple[Kind, SourceItem]] = []
    said = list(left_out.sentences)
    for kind, records in ((Kind.GOOD, (*line.train_good, *line.test_good)), (Kind.DEFECT, line.defects)):
        taken, remark = _spread(records, kind)
        items += [(kind, SourceItem(name=str(one.path.relative_to(line.root)), path=one.path)) for one in taken]
        said += remark
    return Found(tuple(items), tuple(said), left_out.counts)


def find_unlabelled_files(folder: Path) -> Found:
    """All images of a folder of any depth.

    Raises:
        LineError: no such folder.
        StorageError: it cannot be listed.
    """
    if not folder.is_dir():
        got = f"a file, {folder}" if folder.is_file() else f"no folder {folder}"
        raise LineError("a folder of unlabelled images", got, instead_of_folder(folder))
    source = FolderSource(folder)
    items, said = _spread(list(source.items()), Kind.UNLABELLED)
    return Found(tuple((Kind.UNLABELLED, item) for item in items), (*source.remarks, *said), {})


def score_new(
    deployment: Deployment,
    found: Found,
    device: ResolvedDevice,
    opener: Opener,
    on_scored: Callable[[int, int], None],
) -> NewImages:
    """Score what the version does not know, as scoring does; of good parts and of the production each part once.

    Args:
        deployment: the version and its backbone.
        found: what is in the folder.
        device: to run on.
        opener: reads a file's header and says how its pixels are decoded.
        on_scored: told how many images are done, and of how many.

    Raises:
        DeviceError: as `ScoringEngine` says.
    """
    bundle = deployment.bundle
    line = bundle.manifest.line
    engine = ScoringEngine(deployment.backbone, device, threads=available_cpus())
    engine.add_head(line, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
    worker = ScoringWorker(
        bundle=bundle, engine=engine, head=line, known=None, overlays=None, limits=image_limits(), opener=opener
    )
    left_out, examples = Counter(found.left_out), dict[str, str]()
    met = {*bundle.manifest.support.good, *bundle.manifest.support.defects}
    adapted_from = frozenset(met)
    images: list[NewImage] = []
    names, thumbnails = list[str](), list[NDArray[np.uint8]]()

    def leave_out(reason: str, example: str) -> None:
        left_out[reason] += 1
        examples.setdefault(reason, example)

    def ready() -> Iterator[tuple[Kind, Ready]]:
        for done, (kind, item) in enumerate(found.items):
            on_scored(done, len(found.items))
            prepared = worker.prepare(item)
            if isinstance(prepared, Outcome):
                leave_out(UNREADABLE, f"{item.name}: {prepared.result.reason}")
            elif prepared.sha256 in met:
                leave_out(KNOWN if prepared.sha256 in adapted_from else COPY, item.name)
            else:
                met.add(prepared.sha256)
                yield kind, prepared

    at_once = device.batch_size if bundle.manifest.tiles is None else 1
    for batch in _batches(ready(), at_once):
        pixels = padded(np.stack([image.pixels for _, image in batch]), at_once)
        for (kind, image), scored in zip(batch, engine.score_mixed([line] * len(batch), pixels), strict=True):
            if (problem := _problem(bundle, image, scored)) is not None:
                leave_out(problem[0], f"{image.item.name}{problem[1]}")
            else:
                images.append(_new_image(bundle, kind, image, scored))
                names.append(image.item.name)
                thumbnails.append(thumbnail(image.pixels))
    again, on_learned = _again(bundle, images, thumbnails)
    for index in again:
        leave_out(AGAIN, names[index])
    on_scored(len(found.items), len(found.items))
    told = [_sentence(left_out[reason], reason, example) for reason, example in examples.items()]
    return NewImages(
        images=tuple(image for index, image in enumerate(images) if index not in again),
        left_out={reason: count for reason, count in left_out.items() if count},
        remarks=(*found.remarks, *told, *on_learned),
    )


def _again(
    bundle: Bundle, images: Sequence[NewImage], thumbnails: Sequence[NDArray[np.uint8]]
) -> tuple[frozenset[int], list[str]]:
    """Which images show a part again that another shows, or that the version learned from; defects may.

    And what is said where not all is known that it learned from.
    """
    places = [index for index, image in enumerate(images) if image.kind is not Kind.DEFECT]
    if not places:
        return frozenset(), []
    learned, said = parts_learned_from(bundle)
    again = repeated(np.stack([thumbnails[index] for index in places]), learned)
    return frozenset(index for index, is_again in zip(places, again, strict=True) if is_again), said


def _problem(bundle: Bundle, image: Ready, scored: ImageScore) -> tuple[str, str] | None:
    """Why a score says nothing about thresholds, and more of it: such an image is decided upon otherwise."""
    if not scored.finite:
        return NOT_JUDGED, ""
    likeness = bundle.manifest.likeness
    problem = None if likeness is None else likeness.problem(image.seen, scored.distance)
    return None if problem is None else (UNLIKE, problem.removeprefix(UNLIKE))


def _new_image(bundle: Bundle, kind: Kind, image: Ready, scored: ImageScore) -> NewImage:
    anomaly_map = scored.anomaly_map
    kept = anomaly_map.copy() if bundle.manifest.threshold.least_area else None
    return NewImage(image.sha256, kind, scored.score, float(anomaly_map.max()), kept)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _spread(items: Sequence[T], kind: Kind) -> tuple[Sequence[T], list[str]]:
    """At most `MAX_IMAGES` of the images, evenly over all, and what to say of the others, if there are any."""
    step = max(1, math.ceil(len(items) / MAX_IMAGES))
    taken = items[::step]
    left = [f"{len(taken):,} of {len(items):,} {kind} images are used, evenly over all."] if step > 1 else []
    return taken, left


def _sentence(count: int, reason: str, example: str) -> str:
    more = f", and {count - 1:,} more" if count > 1 else ""
    return f"Left out as {reason}: {one_line(example)}{more}."
