"""What the input size does to the memory bank, line by line, on real lines.

    python -m benchmarks.scale LINES --sizes 256,512 [--write]

4 good images, 2 draws (`Random(seed)` over the sorted files of train/good), at most 50 good and 60 defective test
images a line. Fused: the sum of the sizes' image scores, each minus the mean of its own leave-one-out scores.
`--write` puts the figures into scale.md.
"""

from __future__ import annotations

from benchmarks.draws import few, scored_bank, uncached
from benchmarks.study import Study, options
from benchmarks.tables import mean, metrics, percent, table, table_row
from pipeline.metrics import image_auroc


def main() -> None:
    """Print a line's row as it is found, then the page."""
    parser = options(__doc__, draws=2)
    parser.add_argument("--sizes", default="256,512")
    study = Study(__file__, parser)
    sizes = [int(size) for size in study.asked.sizes.split(",")]
    backbones = [uncached(study.settings, size) for size in sizes]
    rows: list[list[str]] = []
    found: list[list[list[float]]] = []
    fused: list[float] = []
    for line in study.lines:
        draws = [few(line, seen, study.draws) for seen in backbones]  # a size, then a seed
        sights = zip(backbones, draws, strict=True)
        banks = [[scored_bank(drawn, seen) for drawn in of_size] for seen, of_size in sights]
        truth = draws[0][0].truth.labels
        sums = [sum(bank.scores - bank.leave_one_out.mean() for bank in seed) for seed in zip(*banks, strict=True)]
        fused += mean([image_auroc(scores, truth)] for scores in sums)
        found.append([mean(metrics(bank.figures) for bank in of_size) for of_size in banks])
        rows.append([line.name, *map(percent, found[-1]), f"{100 * fused[-1]:.1f}"])
        print(table_row(rows[-1]), flush=True)
    means = [percent(mean(column)) for column in zip(*found, strict=True)]
    last = ["**mean**", *means, percent(mean([value] for value in fused))]
    study.publish(table(["line", *(f"{size} px" for size in sizes), "fused, image AUROC"], [*rows, last]))


if __name__ == "__main__":
    main()
