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


@contextmanager
def serving(home: Path) -> Iterator[int]:
    """The server as a process of its own; its port."""
    command = [sys.executable, "-m", "flows.cli", "serve", "--lines", LINE, "--port", "0", "--device", "cpu"]
    environment = os.environ | {"LINEWISE_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r":(\d+),", said)
        if found is None:
            raise RuntimeError(f"expected the server to begin, got {said!r}")
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate()


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


def over_http(port: int, files: Sequence[bytes], clients: int, latencies: dict[int, list[float]], _number: int) -> None:
    """All files once, shared among so many clients."""
    with ThreadPoolExecutor(clients) as pool:
        for taken in pool.map(partial(post, port), [files[first::clients] for first in range(clients)]):
            latencies.setdefault(clients, []).extend(taken)


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
    latencies: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        line = deployed_line(root)
        write_images(sorted((line.images / "test").rglob("*.png")), root / "images", asked.images)
        files = [path.read_bytes() for path in sorted((root / "images").iterdir())]
        deployment = line.deployment
        engine = engine_of(deployment)
        with serving(line.settings.home) as port:
            over_http(port, files[:16], 4, {}, 0)
            sides = {FOLDER: partial(from_folder, deployment, engine, root)}
            sides |= {clients: partial(over_http, port, files, clients, latencies) for clients in CLIENTS}
            taken = in_turns(sides, asked.rounds)
    wall = {side: [found.wall for found in of] for side, of in taken.items()}
    rows = [["folder", f"{asked.images / median(wall[FOLDER]):.1f}", "1.00", "-", "-"]]
    for clients in CLIENTS:
        p50, p99 = np.percentile(latencies[clients], (50, 99))
        rows.append(
            [
                f"{clients} client{'' if clients == 1 else 's'}",
                f"{asked.images / median(wall[clients]):.1f}",
                f"{median_ratio(wall[FOLDER], wall[clients]):.2f}",
                f"{1000 * p50:.0f}",
                f"{1000 * p99:.0f}",
            ]
        )
    size = sum(map(len, files)) / len(files) / 1024
    study.publish(
        f"{asked.images} JPEGs of {SIDE} x {SIDE} ({size:.0f} KiB each), {available_cpus()} workers on the CPU, "
        f"medians of {asked.rounds} rounds.",
        table(("way", "images a second", "of the folder's", "p50, ms", "p99, ms"), rows),
    )


if __name__ == "__main__":
    main()
