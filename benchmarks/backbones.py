"""Which backbone at which input size gives the memory bank most for its time, on real lines.

    python -m benchmarks.backbones LINES [--choices tf_efficientnet_lite0@256,tf_efficientnet_lite2@224] [--write]

Images and draws are those of scale.py. Time is the backbone's alone: CPU seconds of one image through onnxruntime on
one thread, the median of interleaved runs, as a ratio to the first choice's. `--write` puts all of it into
backbones.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.bank_draws import mean_lines
from benchmarks.pages import made_today, percent, replace_figures
from benchmarks.scale import draws_of
from deploy.engine.extractor import OrtExtractor
from flows.open_backbone import OpenBackbone, open_backbone
from model_zoo.backbones.channel_std import generated_images
from pipeline.product_lines.lines import find_lines
from pipeline.settings import load_settings

LITE = "tf_efficientnet_lite"
CHOICES = (
    *("0@256",),  # then three times three of about equal operations: 1.3, 1.6 and 4 times as many
    *("0@288", "1@256", "2@224"),
    *("0@320", "1@272", "2@256"),
    *("0@512", "1@448", "2@400"),
)
WARM_UPS, RUNS = 3, 30


def cpu_seconds(backbones: Sequence[OpenBackbone]) -> list[float]:
    """Median CPU seconds of one image a backbone, on one thread, the backbones in turn."""
    extractors = [OrtExtractor(backbone.artefact, "cpu", threads=1) for backbone in backbones]
    images = [generated_images(1, backbone.spec.height) for backbone in backbones]
    taken: list[list[float]] = [[] for _ in backbones]
    for run in range(WARM_UPS + RUNS):
        for extractor, image, seconds in zip(extractors, images, taken, strict=True):
            start = time.process_time()
            extractor.extract(image)
            if run >= WARM_UPS:
                seconds.append(time.process_time() - start)
    return [float(np.median(seconds)) for seconds in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--choices", default=",".join(f"{LITE}{choice}" for choice in CHOICES))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    started, settings = time.monotonic(), load_settings()
    choices = [choice.split("@") for choice in arguments.choices.split(",")]
    backbones = [open_backbone(name, int(size), settings) for name, size in choices]
    seconds = cpu_seconds(backbones)
    names = [f"{name.removeprefix('tf_efficientnet_')}@{size}" for name, size in choices]
    by_line = ["| line | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    table: list[list[list[float]]] = []
    for line in find_lines(arguments.lines):
        table.append([draws_of(line, backbone)[0] for backbone in backbones])
        by_line.append(f"| {line.name} | " + " | ".join(map(percent, table[-1])) + " |")
        print(by_line[-1], flush=True)
    means = [mean_lines(column) for column in zip(*table, strict=True)]
    summary = [f"| backbone | time, of {names[0]}'s | CPU ms | mean over lines |", "|---|---|---|---|"]
    for name, taken, mean in sorted(zip(names, seconds, means, strict=True), key=lambda row: row[1]):
        summary.append(f"| {name} | {taken / seconds[0]:.2f} | {1000 * taken:.1f} | {percent(mean)} |")
    minutes = (time.monotonic() - started) / 60
    figures = f"{made_today()}, {minutes:.1f} minutes.\n\n" + "\n".join([*summary, "", *by_line])
    print(figures)
    if arguments.write:
        replace_figures(Path(__file__).with_suffix(".md"), figures)


if __name__ == "__main__":
    main()
