"""What adaptation to many good images costs: seconds, memory, the bundle's size, and a scored image's milliseconds.

    python -m benchmarks.many_images [--good 4,16,64,200,500,2000] [--side 640] [--learner auto] [--write]

Generated images of one line, with 16 defects; parts are jittered in light and noise, so that no two are alike. Each
number of images is adapted to in a process of its own, whose peak memory is told, as `linewise adapt` does it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from benchmarks.deployments import engine_of
from benchmarks.study import Study, options
from benchmarks.tables import table
from deploy.bundles.registry import Registry
from flows.adapt import job
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.imaging.images import require_image
from pipeline.process_tuning import tune_process
from pipeline.settings import Settings, load_settings
from pipeline.synthetic.defects import paint_defect
from pipeline.synthetic.jitter import photometric_jitter
from pipeline.synthetic.lines import generate_line

DEFECTS, PARTS, SCORED = 16, 12, 40
LINE = "many"


class Measured(NamedTuple):
    """One adaptation, all threads' CPU seconds included; `mebibytes` of the bundle's files, `milliseconds` an image's
    scoring without decoding.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    mebibytes: float
    milliseconds: float
    size: int


def main() -> None:
    """Print the figures of each number of images as they are found, then the page."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--good", default="4,16,64,200,500,2000")
    parser.add_argument("--side", type=int, default=640, help="of the generated images, pixels")
    parser.add_argument("--learner", default="auto")
    study = Study(__file__, parser)
    numbers = [int(number) for number in study.asked.good.split(",")]
    rows = []
    with tempfile.TemporaryDirectory(prefix="linewise-many-") as scratch:
        images = Path(scratch)
        write_images(images, max(numbers), study.asked.side)
        for number in numbers:
            command = [sys.executable, "-m", "benchmarks.many_images", "one", str(study.settings.home), str(images)]
            command += [str(number), study.asked.learner]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
            found = Measured(*json.loads(done.stdout))
            print(number, found, flush=True)
            times = f"{found.seconds:.0f}", f"{found.cpu_seconds:.0f}"
            cells = (*times, f"{found.peak_mib:,.0f}", f"{found.mebibytes:.1f}")
            rows.append([str(number), f"{found.size} px", *cells, f"{found.milliseconds:.1f}"])
    heads = [
        "good images",
        "chosen size",
        "adaptation, s",
        "its CPU, s",
        "peak, MiB",
        "bundle, MiB",
        "a scored image, ms",
    ]
    study.publish(table(heads, rows))


def write_images(folder: Path, good: int, side: int) -> None:
    """A line in the simple layout: good images, and `DEFECTS` defects without masks."""
    line, rng = generate_line(105, size=side), np.random.default_rng(0)
    parts = [line.good(rng).image for _ in range(PARTS)]
    for index in range(good + DEFECTS):
        pixels = photometric_jitter(parts[index % PARTS], rng)
        shift = rng.integers(-4, 5, 2)
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        pixels = cv2.warpAffine(pixels, move, (side, side), borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)
        if index >= good:
            pixels, _, _ = paint_defect(pixels, rng, donor=photometric_jitter(pixels, rng))
        path = folder / ("good" if index < good else "defect/painted") / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=95, colorspace="RGB"))


def one(settings: Settings, images: Path, good: int, learner: str) -> Measured:
    """Adapt to so many of the images, and score some of them one by one."""
    tune_process()
    start = time.process_time()
    result = job.run(AdaptRequest(line=LINE, images=images, good=good, learner=LearnerName(learner)), settings)
    cpu_seconds = time.process_time() - start
    manifest = result.bundle.manifest
    mebibytes = sum(path.stat().st_size for path in result.bundle.path.rglob("*") if path.is_file()) / 1024**2
    engine = engine_of(Registry(settings.home).deployment(LINE, manifest.version))
    some = sorted((images / "good").iterdir())[:SCORED]
    pixels = [require_image(path, manifest.preprocess).pixels[None] for path in some]
    engine.score(LINE, pixels[0])
    start = time.perf_counter()
    for image in pixels:
        engine.score(LINE, image)
    milliseconds = 1e3 * (time.perf_counter() - start) / len(pixels)
    return Measured(result.seconds, cpu_seconds, result.peak_mib, mebibytes, milliseconds, manifest.preprocess.height)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(load_settings(Path(sys.argv[2])), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
    else:
        main()
