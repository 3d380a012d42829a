"""How fast scoring over HTTP is, beside the folder path on the same images.

    python -m benchmarks.rest [--images 160] [--rounds 3] [--write]

`linewise serve` runs as a process of its own on the CPU, with a worker for each; clients are threads of this process on
the same machine, each with one connection that it keeps, sending 1-Mpx JPEGs one after another. The folder path scores
the same files in this process, from disk to rows. All sides take turns.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.deployments import LINE, deployed_line, engine_of
from benchmarks.overlays import SIDE, write_images
from benchmarks.study import Study, one_or_more, options
from benchmarks.tables import table
from benchmarks.turns import in_turns, median_ratio
from deploy.bundles.packs import Deployment
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource

FOLDER = 0
CLIENTS = (1, 2, 4, 16)
COLUMNS = ("way", "images a second", "of the folder's", "CPU time of the folder's", "p50, ms", "p99, ms")


@contextmanager
def serving(home: Path) -> Iterator[tuple[int, int]]:
    """The server as a process of its own; its port and its number as a process."""
    command = [sys.executable, "-m", "flows.cli", "serve", "--lines", LINE, "--port", "0", "--device", "cpu"]
    environment = os.environ | {"LINEWISE_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r":(\d+),", said)
        if found is None:
            raise RuntimeError(f"expected the server to begin, got {said!r}")
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        process.communicate()


def cpu_seconds(process: int) -> float:
    """CPU time that another process has had, of which Linux keeps hundredths."""
    _, _, fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    return sum(int(ticks) for ticks in fields.split()[11:13]) / os.sysconf("SC_CLK_TCK")


def post(port: int, files: Sequence[bytes]) -> list[float]:
    """One client: the files one after another; seconds of each."""
    taken = []
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        for data in files:
            began = time.perf_counter()
            connection.request("POST", f"/lines/{LINE}/score", data)
            response = connection.getresponse()
            answer = response.read()
            assert response.status == 200, answer
            taken.append(time.perf_counter() - began)
    return taken


class Clients:
    """So many clients, and what they measured: seconds of each image, and the server's CPU seconds of each round."""

    def __init__(self, count: int, server: tuple[int, int], files: Sequence[bytes]) -> None:
        self._count, self._files = count, files
        self._port, self._process = server
        self.latencies: list[float] = []
        self.cpu: list[float] = []

    def send(self, _number: int) -> None:
        """All files once, shared among the clients."""
        shares = [self._files[first :: self._count] for first in range(self._count)]
        before = cpu_seconds(self._process)
        with ThreadPoolExecutor(self._count) as pool:
            for taken in pool.map(partial(post, self._port), shares):
                self.latencies += taken
        self.cpu.append(cpu_seconds(self._process) - before)


def from_folder(deployment: Deployment, engine: ScoringEngine, root: Path, number: int) -> None:
    """All files once, into a new store."""
    with ResultStore(root / f"{number}.sqlite") as store:
        score_images(deployment.bundle, engine, FolderSource(root / "images"), store)


def main() -> None:
    """Adapt a generated line, serve it, and time both ways."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--images", type=one_or_more, default=160)
    parser.add_argument("--rounds", type=one_or_more, default=3)
    study = Study(__file__, parser)
    asked = study.asked
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        line = deployed_line(root)
        write_images(sorted((line.images / "test").rglob("*.png")), root / "images", asked.images)
        files = [path.read_bytes() for path in sorted((root / "images").iterdir())]
        deployment = line.deployment
        engine = engine_of(deployment)
        with serving(line.settings.home) as server:
            Clients(4, server, files[:16]).send(0)
            clients = {count: Clients(count, server, files) for count in CLIENTS}
            sides = {FOLDER: partial(from_folder, deployment, engine, root)}
            sides |= {count: each.send for count, each in clients.items()}
            taken = in_turns(sides, asked.rounds)
    wall = {side: [found.wall for found in of] for side, of in taken.items()}
    cpu = [found.cpu for found in taken[FOLDER]]
    rows = [["folder", f"{asked.images / median(wall[FOLDER]):.1f}", "1.00", "1.00", "-", "-"]]
    for count, each in clients.items():
        p50, p99 = np.percentile(each.latencies, (50, 99))
        speed = f"{asked.images / median(wall[count]):.1f}"
        ratios = f"{median_ratio(wall[FOLDER], wall[count]):.2f}", f"{median_ratio(each.cpu, cpu):.2f}"
        rows.append(
            [f"{count} client{'' if count == 1 else 's'}", speed, *ratios, f"{1000 * p50:.0f}", f"{1000 * p99:.0f}"]
        )
    size = sum(map(len, files)) / len(files) / 1024
    study.publish(
        f"{asked.images} JPEGs of {SIDE} x {SIDE} ({size:.0f} KiB each), {available_cpus()} workers on the CPU, "
        f"medians of {asked.rounds} rounds.",
        table(COLUMNS, rows),
    )


if __name__ == "__main__":
    main()
