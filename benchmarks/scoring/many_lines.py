"""Point 3: mixed batches of 1, 10, 50 and 200 lines in one process: throughput, and memory of a further line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.deployments import LINE
from benchmarks.scoring.setting import WORKERS, Setting, memory_mb, seconds_for, write_images
from benchmarks.turns import median_ratio
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from pipeline.imaging.images import DecodedImage, read_image

LINES = (1, 10, 50, 200)


def measure(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """Throughput of 200 lines over 1, MB a further line; measured in a process that does nothing else."""
    folder = setting.root / "many_lines"
    images, rounds = (20, 2) if setting.quick else (200, 7)
    write_images(folder, images, "jpg")
    command = [sys.executable, "-m", "benchmarks.scoring.many_lines", str(setting.settings.home), str(folder)]
    done = subprocess.run([*command, str(rounds)], capture_output=True, text=True, check=True)  # noqa: S603
    seen = json.loads(done.stdout)
    memory, seconds = seen["memory_mb"], seen["seconds"]
    figures = {
        "throughput_200_lines_over_1": median_ratio(seconds["1"], seconds["200"]),
        "mb_per_further_line": (memory["200"] - memory["1"]) / (LINES[-1] - 1),
    }
    rates = ", ".join(f"{count} {median_ratio([LINES[-1]] * rounds, seconds[str(count)]):.1f}" for count in LINES)
    sizes = ", ".join(f"{count} {memory[str(count)]:.0f}" for count in LINES)
    single = memory["1"] * LINES[-1]
    return figures, [
        f"Images/s from JPEG to scores by number of lines, neighbours of different lines: {rates}.",
        f"MB of one process by number of lines: {sizes}. A process for each of 200 lines: {single:.0f}. "
        f"A head's file has {seen['head_mb']:.2f} MB.",
    ]


def one_process(home: Path, folder: Path, rounds: int) -> None:
    """Open more and more lines; then rounds in which every number of lines takes its turn."""
    deployment: Deployment = Registry(home).deployment(LINE)
    bundle = deployment.bundle
    engine = ScoringEngine(deployment.backbone, "cpu", threads=1)
    paths, names = sorted(folder.iterdir()), [f"line {number}" for number in range(LINES[-1])]

    def score(task: tuple[str, Path]) -> None:
        image = read_image(task[1], bundle.manifest.preprocess)
        assert isinstance(image, DecodedImage), "what was written can be read"
        engine.score(task[0], image.pixels[None])

    def tasks(count: int) -> list[tuple[str, Path]]:
        return [(names[i % count], paths[i % len(paths)]) for i in range(LINES[-1])]

    memory: dict[int, float] = {}
    opened = 0
    for count in LINES:
        for name in names[opened:count]:
            engine.add_head(name, bundle.head_path, bundle.head_sha256)
        seconds_for(score, [(name, paths[0]) for name in names[opened:count]])  # memory is that of lines in use
        opened = count
        memory[count] = memory_mb()
    seconds: dict[int, list[float]] = {count: [] for count in LINES}
    for _ in range(rounds):
        for count in LINES:
            seconds[count].append(seconds_for(score, tasks(count), WORKERS))
    head_mb = bundle.head_path.stat().st_size / 1e6
    print(json.dumps({"memory_mb": memory, "seconds": seconds, "head_mb": head_mb}))


if __name__ == "__main__":
    one_process(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
