"""Parts brought to one pose before they are looked at: what that gains where they move, and costs where they do not.

    python -m benchmarks.alignment LINES [--lines NAME,...] [--draws 1] [--write]

`auto` at 256 px from four good images, at most ten good and ten defective test images a line. As they were taken; with
their part cut out and laid on its background's colour, where it lay and moved by known amounts; and laid anyhow, the
support's parts, too. `--write` puts the figures into alignment.md.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, uncached
from benchmarks.known_moves import FAR, moved_rows
from benchmarks.study import Study, options
from benchmarks.tables import mean, percent, table
from benchmarks.turned_lines import write_image
from flows.views import ANY_ANGLE, DEFAULT_SIZE, SUPPORT
from model_zoo.learner_table import make_learner
from pipeline.evaluation import score_levels
from pipeline.imaging.alignment import Alignment, AlignMode, alignment_of
from pipeline.imaging.images import read_native
from pipeline.learner import AnomalyHead
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import SupportConfig, build_query, build_support
from pipeline.synthetic.defects import estimate_foreground

GOOD, TESTED = 4, 10
NEAR_GOOD, NEAR_DEFECTIVE = 26, 14
SHIFT, TURN, SCALE = 0.05, 15.0, 1.1
"""At most: of the longer side, in degrees, and times as large or as small."""
AS_TAKEN, LAY, ALL, LAID = "as taken", "as it lay", "all three", "laid anyhow"
CASES = (AS_TAKEN, LAY, "shifted", "turned", "scaled", ALL, LAID)
STILL = 0.1
"""Of those moves in a part that lies where it lay: images of all cases are resampled alike."""
NONE, ANY, SIMILARITY = "none", "--any-angle", "similarity"


@dataclass(frozen=True)
class Way:
    """A line adapted in one way."""

    head: AnomalyHead
    evidence: float
    alignment: Alignment | None


@dataclass(frozen=True)
class Found:
    """A case in one way.

    Image AUROC; the evidence by which a support chooses; of an alignment the smallest correlation with the reference,
    how many images were left as taken, and milliseconds of CPU an image.
    """

    auroc: float
    evidence: float
    lowest: float = math.nan
    left: int = 0
    milliseconds: float = math.nan


def main() -> None:
    """Print a line's rows as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=1))
    seen = uncached(study.settings, DEFAULT_SIZE)
    cv2.setNumThreads(1)
    rows, refused = [], []
    for line in study.lines:
        found = [measure(line, seen, seed) for seed in study.draws]
        if not all(found):
            refused.append(line.name)
            continue
        rows += [[line.name, case, *_cells([of[case] for of in found])] for case in found[0]]
        print(*rows[-len(found[0]) :], sep="\n", flush=True)
    told = ("evidence: none, similarity", "least correlation", "left as taken", "CPU ms")
    columns = ("line", "images", NONE, ANY, SIMILARITY, *told)
    said = f"Refused, as no part stands out from a background or the parts are not alike: {', '.join(refused)}."
    tried = ("line, images told as not aligned", "as taken", "cut off", "two parts", "no part", "other lines' parts")
    near = ("line", "images", "number", "told as not aligned", "median off, %", f"untold > {FAR:.0%}", "most untold, %")
    study.publish(
        table(columns, rows),
        *([said] if refused else []),
        table(tried, failures(study.lines)),
        table(near, nearness(study.lines)),
    )


def measure(line: ProductLine, seen: Extraction, seed: int) -> dict[str, dict[str, Found]]:
    """Figures of a line by case and way; empty where it is not aligned."""
    rng = random.Random(seed)  # noqa: S311 - a draw of images, not a secret
    good = rng.sample(list(line.train_good), GOOD)
    if alignment_of([read_native(record.path) for record in good], AlignMode.SIMILARITY) is None:
        return {}
    tested = [
        record
        for records in (line.test_good, line.defects)
        for record in rng.sample(list(records), min(TESTED, len(records)))
    ]
    found: dict[str, dict[str, Found]] = {}
    ways: dict[str, Way | None] = {}
    with tempfile.TemporaryDirectory(prefix="moved-") as scratch:
        for case in CASES:
            draws = np.random.default_rng([seed, CASES.index(case)])
            if case in (AS_TAKEN, LAY, LAID):  # the other cases are of the support as it lay
                support = [_moved(record, case, draws, Path(scratch)) for record in good]
                names = (NONE, ANY, SIMILARITY) if case == LAID else (NONE, SIMILARITY)
                ways = {name: _adapted(support, name, seen, seed) for name in names}
            images = [_moved(record, case, draws, Path(scratch)) for record in tested]
            found[case] = {name: _scored(images, way, seen) for name, way in ways.items() if way is not None}
    return found


def _adapted(good: Sequence[ImageRecord], name: str, seen: Extraction, seed: int) -> Way | None:
    alignment = None
    if name == SIMILARITY:
        fit = alignment_of([read_native(record.path) for record in good], AlignMode.SIMILARITY)
        if fit is None:
            return None
        alignment = fit.alignment
    preprocess = replace(seen.backbone.preprocess(), alignment=alignment)
    config: SupportConfig = ANY_ANGLE if name == ANY else SUPPORT
    support = build_support(good, (), seen.features, preprocess, config, seed=seed)
    chosen = make_learner("auto", seen.backbone.spec, seed=seed).choose(support, seed=seed)
    return Way(chosen.head, chosen.evidence, alignment)


def _scored(records: Sequence[ImageRecord], way: Way, seen: Extraction) -> Found:
    query = build_query(records, seen.features, replace(seen.backbone.preprocess(), alignment=way.alignment))
    auroc = image_auroc(score_levels(way.head, query.levels).image_score.numpy(), query.labels.numpy())
    if way.alignment is None:
        return Found(auroc, way.evidence)
    images = [read_native(record.path) for record in records]
    began = time.thread_time()
    placed = [way.alignment.place(image) for image in images]
    spent = time.thread_time() - began
    left = sum(placement.problem is not None for placement in placed)
    lowest = min(placement.correlation for placement in placed)
    return Found(auroc, way.evidence, lowest, left, 1e3 * spent / len(images))


def _moved(record: ImageRecord, case: str, rng: np.random.Generator, folder: Path) -> ImageRecord:
    """The record with its image as the case has it; its mask is left out, as images alone are ranked here."""
    image = read_native(record.path)
    if case != AS_TAKEN:
        most = [1.0 if case in (move, ALL) else STILL for move in ("turned", "scaled", "shifted")]
        turn, scale, shift = most[0] * rng.uniform(-1, 1), most[1] * rng.uniform(-1, 1), most[2] * rng.uniform(-1, 1, 2)
        if case == LAID:
            turn, shift = rng.uniform(0, 360 / TURN), rng.uniform(-1, 1, 2)
        image = laid(image, turn * TURN, SCALE**scale, shift * SHIFT)
    path = folder / f"{len(list(folder.iterdir()))}.png"
    write_image(path, image)
    return replace(record, path=path, mask_path=None)


def laid(image: NDArray[np.uint8], turn: float, scale: float, shift: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The part, cut out, turned by degrees, scaled and shifted by shares of the longer side, on the border's colour."""
    (height, width), around = image.shape[:2], np.concatenate([image[:3].reshape(-1, 3), image[-3:].reshape(-1, 3)])
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, scale), np.float64)
    matrix[:, 2] += shift * max(height, width)
    inside = cv2.GaussianBlur(estimate_foreground(image).astype(np.float32), (0, 0), height / 256)
    alpha = cv2.warpAffine(inside, matrix, (width, height))[..., None]
    part = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.rint(alpha * part + (1 - alpha) * np.median(around, axis=0)).astype(np.uint8)


def failures(lines: Sequence[ProductLine]) -> list[list[str]]:
    """Rows of how many images of each line that cannot be aligned are told, of those that were made."""
    good = {line.name: [read_native(record.path) for record in line.train_good[: GOOD + TESTED]] for line in lines}
    rows = []
    for name, images in good.items():
        fit = alignment_of(images[:GOOD], AlignMode.SIMILARITY)
        if fit is None:
            continue
        size = (images[0].shape[1], images[0].shape[0])
        others = [cv2.resize(other[-1], size).astype(np.uint8) for line, other in good.items() if line != name]
        tried = [
            images[GOOD:],
            [laid(image, 0, 1, np.array([0.4, 0])) for image in images[GOOD:]],
            [_twice(image) for image in images[GOOD:]],
            [np.full_like(image, np.median(image[:3])) for image in images[GOOD:]],
            others,
        ]
        told = [sum(fit.alignment.place(image).problem is not None for image in case) for case in tried]
        rows.append([name, *(f"{count} of {len(case)}" for count, case in zip(told, tried, strict=True))])
    return rows


def nearness(lines: Sequence[ProductLine]) -> list[list[str]]:
    """Rows of known moves, and of parts marred at their edge, of each line that can be aligned."""
    rows = []
    for line in lines:
        rng = random.Random(0)  # noqa: S311 - a draw of images, not a secret
        good = rng.sample(list(line.train_good), min(GOOD + NEAR_GOOD, len(line.train_good)))
        others = [*good[GOOD:], *rng.sample(list(line.defects), min(NEAR_DEFECTIVE, len(line.defects)))]
        fit = alignment_of([read_native(record.path) for record in good[:GOOD]], AlignMode.SIMILARITY)
        if fit is not None:
            images = [_at_most(read_native(record.path), 512) for record in others]
            rows += moved_rows(line.name, fit.alignment, images, laid, np.random.default_rng(0))
    return rows


def _at_most(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    ratio = min(1.0, side / max(image.shape))
    return cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _twice(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    left, right = (laid(image, 0, 0.5, np.array([side, 0])) for side in (-0.25, 0.25))
    return np.where(estimate_foreground(left)[..., None], left, right)


def _cells(draws: Sequence[dict[str, Found]]) -> list[str]:
    def of_all(name: str, figure: str) -> float:
        return mean([getattr(of[name], figure)] for of in draws if name in of)[0] if draws[0].get(name) else math.nan

    aurocs = [percent([of_all(name, "auroc")]) for name in (NONE, ANY, SIMILARITY)]
    evidence = ", ".join(f"{of_all(name, 'evidence'):.2f}" for name in (NONE, SIMILARITY))
    aligned = [of[SIMILARITY] for of in draws if SIMILARITY in of]
    if not aligned:
        return [*aurocs, evidence, "refused", "", ""]
    lowest, left = min(found.lowest for found in aligned), sum(found.left for found in aligned)
    return [*aurocs, evidence, f"{lowest:.2f}", str(left), f"{of_all(SIMILARITY, 'milliseconds'):.1f}"]


if __name__ == "__main__":
    main()
