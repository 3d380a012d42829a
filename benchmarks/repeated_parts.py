"""What a production that shows its parts again and again does to a threshold, on real lines.

python -m benchmarks.repeated_parts LINES [--lines NAME,...] [--draws 1] [--write]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.study import Study, options
from benchmarks.tables import mean, table
from deploy.bundles.registry import Registry
from flows import unlabelled
from linewise import Line
from pipeline.imaging.images import read_native
from pipeline.product_lines.lines import ImageRecord, ProductLine

Image = NDArray[np.uint8]
SIDE, LABELLED, PARTS, TESTED, TIMES = 256, 4, 30, 60, 5
ONCE, EACH, ONE = "seen once", f"seen {TIMES} times, each counted", f"seen {TIMES} times, parts counted"


def main() -> None:
    """Print each adaptation as it comes, then the table."""
    study = Study(__file__, options(__doc__, draws=1))
    rows: list[list[str]] = []
    every: dict[str, list[list[float]]] = defaultdict(list)
    for line in study.lines:
        of_line: dict[str, list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for how, figures in _adaptations(line, seed):
                of_line[how].append(figures)
                print(line.name, seed, how, *(f"{100 * figure:.1f}" for figure in figures), flush=True)
        means = {how: mean(found) for how, found in of_line.items()}
        rows.append([line.name, *(_cell(means[how]) for how in (ONCE, EACH, ONE))])
        for how, figures in means.items():
            every[how].append(figures)
    rows.append(["mean of the lines", *(_cell(mean(every[how])) for how in (ONCE, EACH, ONE))])
    study.publish(table(("line", ONCE, EACH, ONE), rows))


def _cell(figures: Sequence[float]) -> str:
    rejected, most, missed = (100 * figure for figure in figures)
    return f"{rejected:.1f} (at most {most:.1f}) / {missed:.1f}"


def _adaptations(line: ProductLine, seed: int) -> Iterator[tuple[str, list[float]]]:
    """Each way with the share of unseen good parts rejected, what is promised of it at most, and of defects missed."""
    rng = np.random.default_rng(seed)
    good, defects = (
        rng.permutation(np.array(records, object)).tolist()
        for records in ((*line.train_good, *line.test_good), line.defects)
    )
    labelled = [[_shot(record, rng) for record in records[:LABELLED]] for records in (good, defects)]
    count = min(PARTS, (len(good) - LABELLED) // 2)
    parts = [*good[LABELLED : LABELLED + count], *defects[LABELLED : LABELLED + max(1, count // 20)]]
    tested = [
        [_shot(record, rng) for record in records[LABELLED + seen :][:TESTED]]
        for records, seen in ((good, count), (defects, max(1, count // 20)))
    ]
    for how, times in ((ONCE, 1), (EACH, TIMES), (ONE, TIMES)):
        none_again = patch.object(unlabelled, "repeated", lambda seen: np.zeros(len(seen), np.bool_))
        with TemporaryDirectory() as home, none_again if how == EACH else nullcontext():
            (folder := Path(home, "production")).mkdir()
            for number, record in enumerate(part for part in parts for _ in range(times)):
                assert cv2.imwrite(str(folder / f"{number}.png"), _shot(record, rng)[:, :, ::-1])
            asked = {"home": Path(home, "home"), "size": SIDE, "unlabelled": folder, "device": "cpu"}
            with Line.adapt("line", *labelled, **asked) as adapted:
                promise, limit = Registry(Path(home, "home")).live("line").manifest.promise, adapted.threshold.reject
                assert promise is not None
                scores = [[result.score or np.inf for result in adapted.score_batch(images)] for images in tested]
        rejected, missed = np.mean(np.array(scores[0]) >= limit), np.mean(np.array(scores[1]) < limit)
        yield how, [float(rejected), promise.highest_rate, float(missed)]


def _shot(record: ImageRecord, rng: np.random.Generator) -> Image:
    """A part as a camera sees it this time, RGB at a small size: a little noise is never the same."""
    pixels = read_native(record.path)
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    small = cv2.resize(colour, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (small + rng.normal(0, 1.5, small.shape)).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
