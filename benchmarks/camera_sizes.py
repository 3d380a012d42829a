"""What an image of 8 to 98 Mpx takes of memory and of time: decoded alone, and scored whole and in tiles of 512 px.

    python -m benchmarks.camera_sizes [--megapixels 8,25,50,98] [--formats jpg,png] [--home FOLDER] [--write]

Generated parts of 1024 px side by side, square. Each file is met in each way by a process of its own, which opens the
line, notes its memory, and scores the file twice from disk. `--home` keeps the adapted lines for another run.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.scoring.setting import memory_mb
from benchmarks.study import Study, options
from benchmarks.tables import table
from deploy.bundles.registry import Registry
from linewise import Line
from pipeline.imaging.images import read_native
from pipeline.synthetic.lines import generate_line

SIDE, PART = 512, 1024
SEED, GOOD, TWICE = 3, 2, 2
FORMATS = "jpg,png"
DECODED = "decoded alone"
WAYS: dict[str, str | None] = {"whole": None, "2 x 2 tiles": "2x2", "4 x 4 tiles": "4x4"}
MEASURE = "--measure"
MB = 1e6


def main() -> None:
    """Print the figures as they are found, then the page."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--megapixels", default="8,25,50,98")
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--home", type=Path, help="where the lines are adapted, or were before")
    study, rows = Study(__file__, parser), list[list[str]]()
    with tempfile.TemporaryDirectory(prefix="linewise-camera-") as scratch:
        home = study.asked.home or Path(scratch, "home")
        for way, tiles in WAYS.items():
            if way not in Registry(home).lines():
                Line.adapt(way, _parts(GOOD), size=SIDE, tiles=tiles, device="cpu", home=home).close()
        for kind in study.asked.formats.split(","):
            for megapixels in study.asked.megapixels.split(","):
                file = _write(Path(scratch, f"large.{kind}"), float(megapixels))
                found = {way: _in_a_process(home, way, file) for way in (DECODED, *WAYS)}
                rows.append([f"{megapixels} Mpx, {kind.upper()}", f"{file.stat().st_size / MB:.0f}", *_cells(found)])
                print(*rows[-1], sep=" | ", flush=True)
                file.unlink()
    memory = [f"{way}, MB" for way in (DECODED, *WAYS)]
    study.publish(table(["file", "its MB", *memory, *(f"{way}, CPU time" for way in WAYS)], rows))


def measure(home: Path, way: str, file: Path) -> dict[str, float]:
    """MB of memory above what the opened line takes, and CPU seconds of the second of two times."""
    line = None if way == DECODED else Line.open(way, device="cpu", home=home)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew: proc(5)
    before, seconds = memory_mb("VmRSS"), 0.0
    for _ in range(TWICE):
        began = time.process_time()
        if line is None:
            read_native(file)
        else:
            line.score(file)
        seconds = time.process_time() - began
    return {"mb": memory_mb("VmHWM") - before, "seconds": seconds}


def _in_a_process(home: Path, way: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.camera_sizes", MEASURE, str(home), way, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this module
    return json.loads(done.stdout)


def _parts(count: int) -> Sequence[np.ndarray]:
    line, rng = generate_line(SEED, size=PART), np.random.default_rng(SEED)
    return [line.good(rng).image for _ in range(count)]


def _write(path: Path, megapixels: float) -> Path:
    side = int(math.sqrt(megapixels * MB))
    (part,) = _parts(1)
    times = -(-side // PART)
    pixels = np.tile(part[..., ::-1], (times, times, 1))[:side, :side]
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    path.write_bytes(cv2.imencode(path.suffix, pixels, settings)[1].tobytes())
    return path


def _cells(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    alone = found[DECODED]["seconds"]
    memory = [f"{of['mb']:.0f}" for of in found.values()]
    return [*memory, *(f"{found[way]['seconds'] / alone:.2f}" for way in WAYS)]


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
    else:
        main()
