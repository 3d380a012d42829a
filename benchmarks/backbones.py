"""Which backbone at which input size gives the memory bank most for its time, on real lines.

    python -m benchmarks.backbones LINES [--choices tf_efficientnet_lite0@256,tf_efficientnet_lite2@224] [--write]

Images and draws are those of scale.py. Time is the backbone's alone: CPU seconds of one image through onnxruntime on
one thread, the median of interleaved runs, as a ratio to the first choice's. `--write` puts all of it into
backbones.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.draws import Extraction, few, scored_bank, uncached
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table, table_row
from benchmarks.turns import in_turns
from deploy.engine.extractor import OrtExtractor
from model_zoo.backbones.channel_std import generated_images

LITE = "tf_efficientnet_lite"
CHOICES = (
    *("0@256",),  # then three times three of about equal operations: 1.3, 1.6 and 4 times as many
    *("0@288", "1@256", "2@224"),
    *("0@320", "1@272", "2@256"),
    *("0@512", "1@448", "2@400"),
)
WARM_UPS, RUNS = 3, 30


def main() -> None:
    """Time the choices, measure them line by line, and sort them by their time."""
    parser = options(__doc__, draws=2)
    parser.add_argument("--choices", default=",".join(f"{LITE}{choice}" for choice in CHOICES))
    study = Study(__file__, parser)
    choices = [choice.split("@") for choice in study.asked.choices.split(",")]
    backbones = [uncached(study.settings, int(size), name) for name, size in choices]
    seconds = cpu_seconds(backbones)
    names = [f"{name.removeprefix('tf_efficientnet_')}@{size}" for name, size in choices]
    rows: list[list[str]] = []
    found: list[list[list[float]]] = []
    for line in study.lines:
        draws = ([scored_bank(drawn, seen) for drawn in few(line, seen, study.draws)] for seen in backbones)
        found.append([mean(metrics(bank.figures) for bank in banks) for banks in draws])
        rows.append([line.name, *map(percent, found[-1])])
        print(table_row(rows[-1]), flush=True)
    means = [mean(column) for column in zip(*found, strict=True)]
    by_time = sorted(zip(names, seconds, means, strict=True), key=lambda row: row[1])
    summary = [[name, f"{cpu / seconds[0]:.2f}", f"{1000 * cpu:.1f}", percent(of_all)] for name, cpu, of_all in by_time]
    study.publish(
        table(("backbone", f"time, of {names[0]}'s", "CPU ms", "mean over lines"), summary),
        table(["line", *names], rows),
    )


def cpu_seconds(backbones: Sequence[Extraction]) -> list[float]:
    """Median CPU seconds of one image a backbone, on one thread, the backbones in turn."""

    def side(seen: Extraction) -> Callable[[int], object]:
        extractor = OrtExtractor(seen.backbone.artefact, "cpu", threads=1)
        image = generated_images(1, seen.backbone.spec.height)
        return lambda _: extractor.extract(image)

    found = in_turns(dict(enumerate(map(side, backbones))), RUNS, warm_ups=WARM_UPS)
    return [median(taken.cpu for taken in of_side) for of_side in found.values()]


if __name__ == "__main__":
    main()
