"""Which images a line tells apart as unlike it: other lines' products and camera failures, and how many of its own.

Its own good images are also shown as a plant that drifts takes them: in other light, a little shifted, nearer, blurred.

python -m benchmarks.unlike LINES [--lines NAME,...] [--draws 3] [--size 256] [--write]
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.draws import Extraction, cached
from benchmarks.study import Study, chosen_lines, options
from benchmarks.tables import percent, table
from flows.views import DEFAULT_SIZE
from pipeline.camera_shift import CameraShift
from pipeline.episode_draws import sample_images
from pipeline.episodes import TensorLevels
from pipeline.imaging.images import require_image
from pipeline.likeness import Seen, likeness_of
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import SupportConfig, build_support
from pipeline.support_distance import directions_of, distance_bound, distances

GOODS = (1, 2, 4, 16)
OWN, OF_ANOTHER, FAILING, DRIFTED = 30, 8, 8, 12
"""Good and defective images of a line that are judged by it, images that another line shows it, failing ones, and good
ones of each drift."""

Pixels = NDArray[np.uint8]
GOOD, DEFECTIVE, OTHERS, SIBLINGS = "good", "defective", "lines of other data sets", "other lines of its data set"


def _blurred(image: NDArray[np.float32], _: np.random.Generator) -> NDArray[np.float32]:
    return cv2.GaussianBlur(image, (0, 0), 0.03 * image.shape[0]).astype(np.float32)


def _one_colour_stuck(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    stuck = image.copy()
    stuck[..., rng.integers(3)] = 0
    return stuck


def _upper_half(image: NDArray[np.float32], _: np.random.Generator) -> NDArray[np.float32]:
    half = image.copy()
    half[image.shape[0] // 2 :] = 128
    return half


FAILURES: dict[str, Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]] = {
    "black": lambda image, _: 0 * image,
    "lens cap": lambda image, rng: rng.normal(6, 3, image.shape).astype(np.float32),
    "overexposed": lambda image, _: 4 * image + 60,
    "defocused": _blurred,
    "one colour stuck": _one_colour_stuck,
    "half a frame": _upper_half,
    "noise": lambda image, rng: image + rng.normal(0, 50, image.shape).astype(np.float32),
}
MOVED = "moved"
FOREIGN = (OTHERS, SIBLINGS, *FAILURES, MOVED)


def _of_gain(gain: float) -> Callable[[Pixels, int], Pixels]:
    return lambda image, _: np.clip(np.rint(gain * image.astype(np.float32)), 0, 255).astype(np.uint8)


def _shifted(image: Pixels, _: int) -> Pixels:
    step = 0.03 * image.shape[0]
    move = np.array([[1, 0, round(step)], [0, 1, -round(step)]], np.float32)
    shifted = cv2.warpAffine(image, move, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    return shifted.astype(np.uint8, copy=False)


def _half_of(shift: str) -> Callable[[Pixels, int], Pixels]:
    """A shift of `pipeline.camera_shift` at half its strength, either way in turn."""
    return lambda image, index: CameraShift(shift, 0.5, seed=index % 2).apply(image, f"{index:016x}")


DRIFTS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "a fifth brighter": _of_gain(1.2),
    "a fifth darker": _of_gain(0.8),
    "shifted by 3 %": _shifted,
    "nearer by 6 %": _half_of("magnification"),
    "blurred by 0.6 pixels": _half_of("blur"),
    "noise of 4 grey levels": _half_of("noise"),
    "another camera's file": _half_of("camera"),
}
"""What may become of good images: (pixels, number of the image) -> pixels."""


class Shown(NamedTuple):
    """Images of one kind, and their features, averaged over the image: (B, C, 1, 1) a level."""

    kind: str
    pixels: list[Pixels]
    pooled: TensorLevels


class Told(NamedTuple):
    """How many of the images of a kind a line, adapted to `good` images, told apart; in the end over all its draws."""

    line: str
    good: int
    kind: str
    images: int
    unlike: int


def main() -> None:
    """Print a line's shares as they are found, then the page; every count goes to the table beside it."""
    parser = options(__doc__, draws=3)
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE, help="side of the backbone's input")
    study = Study(__file__, parser)
    seen = cached(study.settings, study.asked.size)
    others = {line.name: _shown_to_others(line, seen) for line in chosen_lines(study.asked.folder, "")}
    found: list[Told] = []
    for line in study.lines:
        of_line = _summed(_of_line(line, seen, study.draws, _others(line.name, others)))
        found += of_line
        told = (f"{k}: {percent([_share(of_line, k, GOOD), _share(of_line, k, *FOREIGN)])}" for k in GOODS)
        print(line.name, *told, flush=True)
    if study.asked.write:
        with study.page.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Told._fields)
            writer.writerows(found)
    study.publish(_by_kind(found), _by_drift(found), _by_line(found, [line.name for line in study.lines]))


def _shown_to_others(line: ProductLine, seen: Extraction) -> Shown:
    return _shown(OTHERS, _some([*line.test_good, *line.defects], OF_ANOTHER), seen)


def _others(name: str, shown: dict[str, Shown]) -> list[Shown]:
    """What all other lines show a line, those of its data set under a kind of their own."""
    data_set = name.partition("/")[0]
    return [
        of_other._replace(kind=SIBLINGS if other.partition("/")[0] == data_set else OTHERS)
        for other, of_other in shown.items()
        if other != name
    ]


def _of_line(line: ProductLine, seen: Extraction, draws: range, others: Sequence[Shown]) -> Iterator[Told]:
    """Count what each draw of a support tells apart. The images judged are the same for all draws, and in none."""
    pools = [sample_images(line, good=max(GOODS), defects=0, query=2, seed=seed, spare_good=False) for seed in draws]
    used = {record.path for images in pools for record in images.good}
    own = _some(list(line.test_good) or [record for record in line.train_good if record.path not in used], OWN)
    good, rng = _shown(GOOD, own, seen), np.random.default_rng(0)
    failing = [
        _seen(kind, [_failed(fail, image, rng) for image in good.pixels[:FAILING]], seen)
        for kind, fail in FAILURES.items()
    ]
    moved = _seen(MOVED, [_quarter(record, seen, rng) for record in own[:FAILING]], seen)
    drifted = [
        _seen(drift, [change(image, index) for index, image in enumerate(good.pixels[:DRIFTED])], seen)
        for drift, change in DRIFTS.items()
    ]
    judged = [good, _shown(DEFECTIVE, _some(line.defects, OWN), seen), *failing, moved, *drifted, *others]
    for draw, images in zip(draws, pools, strict=True):
        for k in GOODS:
            yield from _told(line.name, draw, images.good[:k], judged, seen)


def _told(
    line: str, draw: int, good: Sequence[ImageRecord], judged: Sequence[Shown], seen: Extraction
) -> Iterator[Told]:
    preprocess = seen.backbone.preprocess()
    support = build_support(good, (), seen.features, preprocess, SupportConfig(synthetic=0), seed=draw)
    likeness = likeness_of([require_image(record.path, preprocess) for record in good], (), distance_bound(support))
    directions, size = directions_of(support), likeness.sizes[0]  # all are shown at the line's size
    for shown in judged:
        nearest = distances(shown.pooled, directions).tolist()
        problems = [
            likeness.problem(Seen(image, size), distance) for image, distance in zip(shown.pixels, nearest, strict=True)
        ]
        told = sum(problem is not None for problem in problems)
        yield Told(line, len(good), shown.kind, len(problems), told)


def _summed(found: Iterable[Told]) -> list[Told]:
    counts: dict[tuple[str, int, str], list[int]] = {}
    for told in found:
        total = counts.setdefault((told.line, told.good, told.kind), [0, 0])
        total[0] += told.images
        total[1] += told.unlike
    return [Told(*of, *total) for of, total in counts.items()]


def _failed(
    fail: Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]],
    image: Pixels,
    rng: np.random.Generator,
) -> Pixels:
    return np.clip(fail(image.astype(np.float32), rng), 0, 255).astype(np.uint8)


def _quarter(record: ImageRecord, seen: Extraction, rng: np.random.Generator) -> Pixels:
    """A quarter of the image at the size of all, as sharp as its file has it: no enlarged pixels tell it apart."""
    preprocess = seen.backbone.preprocess()
    height, width = preprocess.height, preprocess.width
    large = require_image(record.path, replace(preprocess, height=2 * height, width=2 * width)).pixels
    top, left = (int(rng.integers(2)) * side for side in (height, width))
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def _shown(kind: str, records: Sequence[ImageRecord], seen: Extraction) -> Shown:
    preprocess = seen.backbone.preprocess()
    return _seen(kind, [require_image(record.path, preprocess).pixels for record in records], seen)


def _seen(kind: str, images: list[Pixels], seen: Extraction) -> Shown:
    pooled = [
        [torch.from_numpy(level).mean((2, 3), keepdim=True) for level in seen.backbone.extractor.extract(image[None])]
        for image in images
    ]
    return Shown(kind, images, tuple(torch.cat(level) for level in zip(*pooled, strict=True)))


def _some(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """At most so many, drawn."""
    return [records[i] for i in np.random.default_rng(1).permutation(len(records))[:count]]


def _share(found: Sequence[Told], good: int, *kinds: str) -> float:
    """Of the images of these kinds: nan where there are none."""
    counted = [told for told in found if told.good == good and told.kind in kinds]
    images = sum(told.images for told in counted)
    return sum(told.unlike for told in counted) / images if images else float("nan")


def _by_kind(found: Sequence[Told]) -> list[str]:
    """Shares over all lines' images, a row a kind."""
    rows = {
        GOOD: (GOOD,),
        DEFECTIVE: (DEFECTIVE,),
        "**all that are none of the line's**": FOREIGN,
        "likewise, without other lines of its data set": tuple(kind for kind in FOREIGN if kind != SIBLINGS),
        "other lines": (OTHERS, SIBLINGS),
        **{kind: (kind,) for kind in FOREIGN},
    }
    return _table("images, % told apart as unlike", rows, found)


def _by_drift(found: Sequence[Told]) -> list[str]:
    """The line's own good images, as they come from a plant that drifts."""
    return _table("good images, % told apart as unlike", {drift: (drift,) for drift in DRIFTS}, found)


def _table(title: str, rows: dict[str, tuple[str, ...]], found: Sequence[Told]) -> list[str]:
    columns = [title, *(f"{k} good image{'' if k == 1 else 's'}" for k in GOODS)]
    return table(columns, [[row, *(percent([_share(found, k, *kinds)]) for k in GOODS)] for row, kinds in rows.items()])


def _by_line(found: Sequence[Told], lines: Sequence[str]) -> list[str]:
    """Shares of a line adapted to 4 good images."""
    columns = {
        GOOD: (GOOD,),
        DEFECTIVE: (DEFECTIVE,),
        "other lines": (OTHERS, SIBLINGS),
        "failures": (*FAILURES, MOVED),
    }
    rows = []
    for line in lines:
        own = [told for told in found if told.line == line]
        rows.append([line, *(percent([_share(own, 4, *kinds)]) for kinds in columns.values())])
    return table(["line, 4 good images", *columns], rows)


if __name__ == "__main__":
    main()
