"""Point 4: many images in one run: does it get slower, does it grow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.deployments import LINE, engine_of
from benchmarks.scoring.setting import WORKERS, Setting, memory_mb, write_images
from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource

SIDE = 512  # 20,000 JPEGs of 1 Mpx would be 6 GB
DIFFERENT = 64


def measure(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """Throughput at the end over the start, MB grown after warm-up; in a process that does nothing else."""
    count = 600 if setting.quick else 20_000
    folder = setting.root / "endurance"
    originals = [path.read_bytes() for path in write_images(setting.root / "originals", DIFFERENT, "jpg", side=SIDE)]
    folder.mkdir()
    for number in range(count):  # what follows a JPEG's end makes another content of the same pixels
        (folder / f"{number:06d}.jpg").write_bytes(originals[number % DIFFERENT] + number.to_bytes(4, "big"))
    command = [sys.executable, "-m", "benchmarks.scoring.endurance", str(setting.settings.home), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    figures = json.loads(done.stdout)
    return figures, [
        f"{count} images of {SIDE} x {SIDE}; images a CPU second in the last tenth over the second, "
        "so that other work on the machine does not count; memory from the end of the first tenth."
    ]


def one_process(home: Path, folder: Path) -> None:
    """Score the folder; CPU time and memory at the end of each tenth."""
    deployment = Registry(home).deployment(LINE)
    tenth = len(list(folder.iterdir())) // 10
    marks: list[tuple[float, float]] = []
    seen = 0

    def count(_result: ImageResult, _view: ImageView | None) -> None:
        nonlocal seen
        seen += 1
        if seen % tenth == 0:
            marks.append((time.process_time(), memory_mb()))

    with ResultStore(folder.parent / "endurance.sqlite") as store:
        engine, source = engine_of(deployment), FolderSource(folder)
        summary = score_images(deployment.bundle, engine, source, store, workers=WORKERS, on_result=count)
    assert summary.counts.scored == summary.counts.found == 10 * tenth, "every image was scored"
    start, end = marks[1][0] - marks[0][0], marks[9][0] - marks[8][0]
    print(json.dumps({"throughput_end_over_start": start / end, "rss_drift_mb": marks[9][1] - marks[0][1]}))


if __name__ == "__main__":
    one_process(Path(sys.argv[1]), Path(sys.argv[2]))
