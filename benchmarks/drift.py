"""How many false alarms watching a line for drift gives, and after how many images a changed camera is noticed.

python -m benchmarks.drift LINES [--lines NAME,...] [--images 10000] [--scored NAME,...] [--write]

An undisturbed stream is a line's good training images, drawn at random with replacement; production in runs repeats
each drawn image. For the scores of `--scored` lines `auto` is adapted at 256 px to 4 good and 4 defective images.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.deployments import LINE, engine_of
from benchmarks.study import Study, one_or_more, options
from benchmarks.tables import table
from deploy.bundles.registry import Registry
from deploy.drift.block import LEARNED, block_of
from deploy.drift.detector import STATISTICS, Detector, Noticed
from deploy.drift.place import PLACE
from deploy.drift.words import tell
from deploy.engine.runtime import ScoringEngine
from deploy.results.drift_rows import StreamRow
from flows.adapt import job
from flows.adapt.request import AdaptRequest
from pipeline.camera_shift import SHIFTS, CameraShift
from pipeline.imaging.images import DecodedImage, PreprocessSpec, require_image
from pipeline.look import look_of
from pipeline.look_figures import figures_of
from pipeline.product_lines.lines import ProductLine
from pipeline.settings import load_settings

SIDE, OF_LINE = 256, 60
STRENGTHS = (0.25, 0.5, 1.0)
RATE = 100_000.0
"""Images for one false alarm, at least, as stated: about a year of a line that makes 280 parts a day."""
BEFORE, PATIENCE, STEP = 500, 1000, 10
COMPARED = 200
"""Images of before that an alarm is told from, as `deploy.drift.watch` does."""
SCORED = "mvtec/pill,otx_hazelnut/hazelnut,magnetic_tile/tile"
PRODUCTION = ((1, 1), (1, None), (8, 1), (8, 16), (8, None), (32, None))
"""Images of a run of like parts, and of a block whose mean is taken as one; None: as the stream's first say."""
Shift = tuple[str, float]


class SeenLine(NamedTuple):
    """Rows of a line's images as they are, and as each shift has them; with scores or without."""

    name: str
    good: list[StreamRow]
    shifted: dict[Shift, list[StreamRow]]
    scored: bool


def main() -> None:
    """See the lines, then watch their streams."""
    parser = options(__doc__)
    parser.add_argument("--images", type=one_or_more, default=10_000, help="of each undisturbed stream")
    parser.add_argument("--scored", default=SCORED, help="lines whose scores are watched, too, comma-separated")
    parser.add_argument("--repeats", type=one_or_more, default=3, help="streams of each line and shift")
    study = Study(__file__, parser)
    seen = []
    scored = study.asked.scored.split(",")
    for line in study.lines:
        seen.append(see(line, scored=line.name in scored))
        print(line.name, flush=True)
    study.publish(
        f"At most one false alarm in {RATE:,.0f} images is asked for; what is stated is the bound.",
        _undisturbed(seen, study.asked.images),
        f"Images until a shift is noticed, after {BEFORE} of before:",
        _noticed(seen, study.asked.repeats),
    )


def see(line: ProductLine, *, scored: bool) -> SeenLine:
    """A line's rows; the scores are those of a version that is adapted here."""
    spec = PreprocessSpec(height=SIDE, width=SIDE)
    images = [require_image(record.path, spec) for record in line.train_good[:OF_LINE]]
    with tempfile.TemporaryDirectory() as home:
        engine = _adapted(line, Path(home)) if scored else None
        good = [_row(image, image.pixels, engine) for image in images]
        shifted = {
            (name, strength): [
                _row(image, CameraShift(name, strength).apply(image.pixels, image.sha256), engine) for image in images
            ]
            for name in SHIFTS
            for strength in STRENGTHS
        }
    return SeenLine(line.name, good, shifted, scored)


def _adapted(line: ProductLine, home: Path) -> ScoringEngine:
    settings = load_settings(home)
    job.run(AdaptRequest(line=LINE, images=line.root, good=4, defects=4, size=SIDE), settings)
    return engine_of(Registry(home).deployment(LINE))


def _row(image: DecodedImage, pixels: NDArray[np.uint8], engine: ScoringEngine | None) -> StreamRow:
    score = None if engine is None else engine.score_mixed([LINE], pixels[None])[0].score
    depth = image.bit_depth * (3 if image.colour else 1)
    return StreamRow(0, datetime.now(UTC), "", score, *image.source_size, depth, *figures_of(look_of(pixels)))


def _drawn(
    rows: Sequence[StreamRow], count: int, first: int, rng: np.random.Generator, run: int = 1
) -> list[StreamRow]:
    """A stream of `count` rows, each drawn one `run` times over."""
    places = np.repeat(rng.integers(0, len(rows), count // run + 2), run)[run // 3 :][:count]
    return [rows[place]._replace(id=first + number) for number, place in enumerate(places.tolist())]


def _undisturbed(seen: Sequence[SeenLine], images: int) -> list[str]:
    rows = []
    for run, block in PRODUCTION:
        alarms, blocks = Counter[str](), list[int]()
        for number, line in enumerate(seen):
            stream = _drawn(line.good, images, 1, np.random.default_rng([1, run, number]), run)
            blocks.append(block or block_of(stream[:LEARNED]))
            whole = stream[: images // blocks[-1] * blocks[-1]]
            found = Detector(blocks[-1]).take(whole, images_per_alarm=RATE, seed=(2, number))
            alarms.update(_kind(each) for each in found)
        by = ", ".join(f"{count} {name}" for name, count in alarms.most_common(3))
        total, said = images * len(seen), str(block or f"chosen: {min(blocks)} to {max(blocks)}")
        rows.append([str(run), said, f"{total:,}", str(alarms.total()), f"{alarms.total() / total * 1e5:.2g}", by])
    return table(["images of a run", "block", "images", "alarms", "alarms in 100,000", "of them"], rows)


def _noticed(seen: Sequence[SeenLine], repeats: int) -> list[str]:
    found: dict[Shift, list[dict[str, int]]] = {}
    for number, line in enumerate(seen):
        for repeat in range(repeats):
            rng = np.random.default_rng([3, number, repeat])
            detector = Detector()
            before = _drawn(line.good, BEFORE, 1, rng)
            detector.take(before, images_per_alarm=RATE, seed=(4, number, repeat))
            state = detector.packed()
            for shift, rows in line.shifted.items():
                delays = dict(_delays(Detector.unpacked(state), before, _drawn(rows, PATIENCE, BEFORE + 1, rng)))
                found.setdefault(shift, []).append(delays)
    return table(
        ["shift", "strength", "any, median", "any, 90 %", "not within 1,000", "noticed first by, and their medians"],
        [[shift[0], f"{shift[1]:g}", *_summary(delays)] for shift, delays in sorted(found.items())],
    )


def _delays(detector: Detector, before: Sequence[StreamRow], stream: Sequence[StreamRow]) -> Iterator[tuple[str, int]]:
    """Images until the first alarm of each kind that is told; ends a while after the first of any."""
    first = math.inf
    told = set[str]()
    for start in range(0, len(stream), STEP):
        if start > first + 50:
            return
        for each in detector.take(stream[start : start + STEP], images_per_alarm=RATE, seed=(5, start)):
            if not tell(
                each.statistic, before[-COMPARED:], stream[max(each.since - BEFORE - 1, 0) : start + STEP]
            ).matters:
                continue
            delay = each.last - BEFORE
            first = min(first, delay)
            if (kind := _kind(each)) not in told:
                told.add(kind)
                yield kind, delay


def _summary(delays: Sequence[dict[str, int]]) -> list[str]:
    each = [min(found.values(), default=math.inf) for found in delays]
    median, most = (np.quantile(each, share, method="inverted_cdf") for share in (0.5, 0.9))
    kinds = {name: [found[name] for found in delays if name in found] for name in (*STATISTICS, "place")}
    often = sorted(((len(of), name) for name, of in kinds.items() if len(of) >= len(delays) / 3), reverse=True)[:4]
    by = ", ".join(f"{name} {np.median(kinds[name]):.0f} ({count / len(delays):.0%})" for count, name in often)
    missed = sum(math.isinf(delay) for delay in each)
    return [_count(median), _count(most), f"{missed} of {len(each)}", by]


def _count(delay: float) -> str:
    return "-" if math.isinf(delay) else f"{delay:.0f}"


def _kind(found: Noticed) -> str:
    return "place" if found.statistic in PLACE else found.statistic


if __name__ == "__main__":
    main()
