"""What decoding JPEGs in full and halving them changes against libjpeg's scaled decoding: nvJPEG's way, without nvJPEG.

    python -m benchmarks.jpeg_decoding [--images 16] [--side 1024] [--seed 7]

Needs no GPU: libjpeg decodes in full, as nvJPEG must, once with its own interpolation of subsampled colours and once by
repeating them, which is how nvJPEG enlarges them as torchvision calls it. What is left is nvJPEG's own arithmetic.
On three generated lines of 1 Mpx: below 0.3 grey levels on average, 3 at most.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from benchmarks.deployments import LINE, deployed_line, engine_of
from benchmarks.study import options
from benchmarks.tables import table
from pipeline.imaging.images import PreprocessSpec, fit_image, open_image
from pipeline.process_tuning import tune_process
from pipeline.synthetic.lines import generate_line

QUALITY = 90
Fit = Callable[[bytes, PreprocessSpec], NDArray[np.uint8]]


def scaled(data: bytes, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The shared path."""
    return fit_image(open_image(data), spec)


def in_full(*, repeat_colours: bool) -> Fit:
    """Decoding in full and halving; subsampled colours are interpolated or repeated."""

    def fit(data: bytes, spec: PreprocessSpec) -> NDArray[np.uint8]:
        pixels = simplejpeg.decode_jpeg(data, fastupsample=repeat_colours)
        return fit_image(replace(open_image(data), decode=lambda _height, _width: pixels), spec)

    return fit


def main() -> None:
    """Adapt a generated line, and print how far its images and scores are apart."""
    parser = options(__doc__, lines=False, page=False)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=7, help="of the line")
    asked = parser.parse_args()
    tune_process()
    line, rng = generate_line(asked.seed, size=asked.side), np.random.default_rng(asked.seed)
    pictures = [(line.defective if i % 2 else line.good)(rng).image for i in range(asked.images)]
    with tempfile.TemporaryDirectory() as name:
        deployment = deployed_line(Path(name), seed=asked.seed, side=asked.side).deployment
        spec, threshold = deployment.bundle.manifest.preprocess, deployment.bundle.manifest.threshold
        engine = engine_of(deployment)
    rows = []
    for sampling in ("444", "420"):
        files = [simplejpeg.encode_jpeg(picture, quality=QUALITY, colorsubsampling=sampling) for picture in pictures]
        reference = np.stack([scaled(data, spec) for data in files])
        expected = engine.score(LINE, reference).image_score
        spread = float(expected[::2].std())
        for repeat in (False, True):
            fit = in_full(repeat_colours=repeat)
            pixels = np.stack([fit(data, spec) for data in files])
            apart = np.abs(pixels.astype(np.int16) - reference)
            got = engine.score(LINE, pixels).image_score
            moved = float(np.abs(got - expected).max()) / spread
            decided = sum(threshold.decide(a) != threshold.decide(b) for a, b in zip(got, expected, strict=True))
            greys = (f"{apart.mean():.3f}", f"{apart.mean(axis=(1, 2, 3)).max():.3f}", f"{apart.max()}")
            colours = f"4:{sampling[1]}:{sampling[2]}"
            rows.append([colours, "yes" if repeat else "no", *greys, f"{moved:.3f}", f"{decided}"])
    print(f"{len(pictures)} JPEGs of {asked.side} x {asked.side}, every second one defective, at {spec.height} px.")
    print("Differences in grey levels; of scores, in standard deviations of the good images' scores.\n")
    columns = (
        "colours",
        "repeated",
        "mean",
        "worst image's mean",
        "largest",
        "largest of a score",
        "decisions changed",
    )
    print("\n".join(table(columns, rows)))


if __name__ == "__main__":
    main()
