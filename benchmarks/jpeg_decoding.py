"""What decoding JPEGs in full and halving them changes against libjpeg's scaled decoding: nvJPEG's way, without nvJPEG.

    python -m benchmarks.jpeg_decoding [--images 16] [--side 1024] [--seed 7]

Needs no GPU: libjpeg decodes in full, as nvJPEG must, once with its own interpolation of subsampled colours and once by
repeating them, which is how nvJPEG enlarges them as torchvision calls it. What is left is nvJPEG's own arithmetic.
On three generated lines of 1 Mpx: below 0.3 grey levels on average, 3 at most.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.imaging.images import PreprocessSpec, fit_image, open_image
from pipeline.process_tuning import tune_process
from pipeline.settings import load_settings
from pipeline.synthetic.lines import generate_line, write_line

QUALITY = 90
Fit = Callable[[bytes, PreprocessSpec], NDArray[np.uint8]]


def scaled(data: bytes, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The shared path."""
    return fit_image(open_image(data), spec)


def in_full(*, repeat_colours: bool) -> Fit:
    def fit(data: bytes, spec: PreprocessSpec) -> NDArray[np.uint8]:
        pixels = simplejpeg.decode_jpeg(data, fastupsample=repeat_colours)
        return fit_image(replace(open_image(data), decode=lambda _height, _width: pixels), spec)

    return fit


def main() -> None:
    tune_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=7, help="of the line")
    options = parser.parse_args()
    side, seed = options.side, options.seed
    line, rng = generate_line(seed, size=side), np.random.default_rng(seed)
    pictures = [(line.defective if i % 2 else line.good)(rng).image for i in range(options.images)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = load_settings(root / "home")
        folder = write_line(root, seed, good=5, test_good=2, defects=4, size=side)
        request = AdaptRequest(line="line", images=folder, learner=LearnerName.MEMORY_BANK, good=4, defects=0)
        version = adapt.run(request, settings).bundle.manifest.version
        deployment = Registry(settings.home).deployment("line", version)
        spec, threshold = deployment.bundle.manifest.preprocess, deployment.bundle.manifest.threshold
        engine = ScoringEngine(deployment.backbone, "cpu", threads=1)
        engine.add_head("line", deployment.bundle.head_path)

        print(f"{len(pictures)} JPEGs of {side} x {side}, every second one defective, at {spec.height} px.")
        print("Differences in grey levels; of scores, in standard deviations of the good images' scores.\n")
        print("| colours | repeated | mean | worst image's mean | largest | largest of a score | decisions changed |")
        print("|---|---|---|---|---|---|---|")
        for sampling in ("444", "420"):
            files = [
                simplejpeg.encode_jpeg(picture, quality=QUALITY, colorsubsampling=sampling) for picture in pictures
            ]
            reference = np.stack([scaled(data, spec) for data in files])
            expected = engine.score("line", reference).image_score
            spread = float(expected[::2].std())
            for repeat in (False, True):
                fit = in_full(repeat_colours=repeat)
                pixels = np.stack([fit(data, spec) for data in files])
                apart = np.abs(pixels.astype(np.int16) - reference)
                got = engine.score("line", pixels).image_score
                moved = float(np.abs(got - expected).max())
                decided = sum(threshold.decide(a) != threshold.decide(b) for a, b in zip(got, expected, strict=True))
                print(
                    f"| 4:{sampling[1]}:{sampling[2]} | {'yes' if repeat else 'no'} | {apart.mean():.3f} "
                    f"| {apart.mean(axis=(1, 2, 3)).max():.3f} | {apart.max()} "
                    f"| {moved / spread:.3f} | {decided} |"
                )


if __name__ == "__main__":
    main()
