"""Shards on a Dask cluster and on Prefect workers, into PostgreSQL: rows equal to one process's, also after kills.

    python -m benchmarks.scale_out [--images 5000] [--shards 10] [--write]

One PostgreSQL server for Prefect's server and the store, generated images, all on this machine. One process with one
thread scores the folder; then a Dask cluster of two workers does, and two workers of the pool do, each into a new
database, once undisturbed and once with a worker (and what it runs) killed with -9 when a third of the images are in.
Needs the extra `dask`, and Debian's postgresql.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

import sqlalchemy
from sqlalchemy.exc import ProgrammingError

from benchmarks.databases import new_database
from benchmarks.deployments import LINE
from benchmarks.many_images import DEFECTS, write_images
from benchmarks.study import Study, options
from benchmarks.tables import table
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.settings import load_settings
from tests.deploy.results.postgres_server import PostgresServer

SIDE = 96  # of the camera's images, pixels
SIZE = 64  # of the model's input: what is measured is the dividing, not the scoring
WAIT_SECONDS = 300.0
_BETWEEN_LOOKS = 0.5

RUN = """
from flows.score.flow import score_folder
from flows.score.request import ScoreRequest
score_folder(ScoreRequest(line={line!r}, images={images!r}, device="cpu", workers=1, overlays=False), shards={shards})
"""

Workers = Sequence[subprocess.Popen[bytes]]
Scores = dict[str, tuple[float, str]]
"""Score and decision of each content."""


def main() -> None:
    """Print the figures, and with --write put them into the page."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--shards", type=int, default=10)
    study = Study(__file__, parser)
    asked = study.asked
    with ExitStack() as running:
        root = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="linewise-scale-out-")))
        write_images(root / "camera", asked.images - DEFECTS, SIDE)
        adapt(root)
        postgres = running.enter_context(PostgresServer(root))
        plant = running.enter_context(scaled_plant(root, postgres.url, asked.shards))
        alone = plant.alone()
        rows = [alone.row(alone)]
        print(rows[-1], flush=True)
        for kill in (True, False):
            for cluster in (dask_cluster, pool_workers):
                taken = plant.divided(cluster, kill=kill)
                rows.append(taken.row(alone))
                print(rows[-1], flush=True)
    heads = ["scored by", "a worker killed", "seconds", "times one process", "rows", "contents", "as one process"]
    study.publish(table(heads, rows))


def adapt(root: Path) -> None:
    """Make a small memory bank of 4 good images live."""
    from flows.adapt import job  # noqa: PLC0415  # loads torch

    request = AdaptRequest(
        line=LINE, images=root / "camera", learner=LearnerName.MEMORY_BANK, good=4, defects=0, size=SIZE
    )
    job.run(request, load_settings(root / "home"))


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What scoring the folder once took, and what the store has of it then."""

    by: str
    killed: bool
    seconds: float
    rows: int
    scores: Scores = field(repr=False)

    def row(self, alone: Taken) -> list[str]:
        """For the table, beside the one process."""
        equal = sum(self.scores.get(content) == score for content, score in alone.scores.items())
        return [
            self.by,
            "yes" if self.killed else "no",
            f"{self.seconds:.0f}",
            f"{self.seconds / alone.seconds:.2f}",
            str(self.rows),
            str(len(self.scores)),
            f"{equal} of {len(alone.scores)}",
        ]


@dataclass(frozen=True, kw_only=True)
class ScaledPlant:
    """A Prefect server that runs, and where the databases of the runs are made.

    Args:
        root: of all files; `camera` and `home` are there.
        environment: of whoever takes part.
        postgres: URL of a database of the server, which makes others.
        shards: into how many the folder is divided.
    """

    root: Path
    environment: Mapping[str, str]
    postgres: str
    shards: int

    def alone(self) -> Taken:
        """Score by one process."""
        url = new_database(self.postgres, "alone")
        command = ["-m", "flows.cli", "score", LINE, str(self.root / "camera"), "--workers", "1", "--no-overlays"]
        began = time.monotonic()
        with self.process("alone", *command, to=url, LINEWISE_DEVICE="cpu") as run:
            if run.wait():
                raise SystemExit((self.root / "alone.log").read_text()[-2000:])
        return taken(url, "one process", killed=False, seconds=time.monotonic() - began)

    def divided(self, cluster: Cluster, *, kill: bool) -> Taken:
        """Score by two workers; with `kill` one of them ends when a third of the images are in."""
        name = f"{cluster.__name__}_{kill}".lower()
        third = len(list((self.root / "camera").rglob("*.jpg"))) // 3
        url = new_database(self.postgres, name)
        with cluster(self, url) as (said, variables, workers):
            code = RUN.format(line=LINE, images=str(self.root / "camera"), shards=self.shards)
            killed, began = False, time.monotonic()
            with self.process(name, "-c", code, to=url, **variables) as run:
                while run.poll() is None:
                    if kill and not killed and count_rows(url) >= third:
                        os.killpg(workers[0].pid, signal.SIGKILL)
                        killed = True
                    time.sleep(_BETWEEN_LOOKS)
            if run.returncode or killed is not kill:
                raise SystemExit((self.root / f"{name}.log").read_text()[-2000:])
            return taken(url, said, killed=killed, seconds=time.monotonic() - began)

    @contextmanager
    def process(self, name: str, *arguments: str, to: str = "", **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Python with these arguments in a session of its own, as long as the context lasts."""
        environment = {**self.environment, "LINEWISE_DATABASE_URL": to, **variables}
        with (self.root / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(  # noqa: S603  # our own arguments
                [sys.executable, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield child
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGTERM)
                    child.wait(timeout=WAIT_SECONDS)


class Cluster(Protocol):
    """Starts what takes shards: what it is called, variables of whoever asks it, and its workers' processes."""

    __name__: str

    def __call__(self, plant: ScaledPlant, url: str, /) -> AbstractContextManager[tuple[str, dict[str, str], Workers]]:
        """Begin; their end is the context's."""
        ...


@contextmanager
def scaled_plant(root: Path, postgres: str, shards: int) -> Iterator[ScaledPlant]:
    """A Prefect server on a database of its own, with our deployments, that crashes silent runs."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    url = new_database(postgres, "prefect")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LINEWISE_"))}
    environment = kept | {
        "LINEWISE_HOME": str(root / "home"),
        "OMP_NUM_THREADS": "1",
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": url.replace("+psycopg", "+asyncpg"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
    }
    plant = ScaledPlant(root=root, environment=environment, postgres=postgres, shards=shards)
    with plant.process("server", "-m", "prefect", "server", "start") as server:
        wait_for("the Prefect server", lambda: answers(f"{api}/health"), server)
        with plant.process("bootstrap", "-m", "flows.bootstrap") as bootstrap:
            if bootstrap.wait():
                raise SystemExit((root / "bootstrap.log").read_text()[-2000:])
        yield plant


@contextmanager
def dask_cluster(plant: ScaledPlant, url: str) -> Iterator[tuple[str, dict[str, str], Workers]]:
    """A scheduler and two workers of one thread each, which take shards until the context ends."""
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    with ExitStack() as running:
        scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        running.enter_context(plant.process("scheduler", *scheduler, "--no-dashboard", to=url))
        worker = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        workers = [running.enter_context(plant.process(f"dask{n}", *worker, to=url)) for n in range(2)]
        yield "Dask, 2 workers", {"LINEWISE_DASK_SCHEDULER": address}, workers


@contextmanager
def pool_workers(plant: ScaledPlant, url: str) -> Iterator[tuple[str, dict[str, str], Workers]]:
    """Two workers of the pool, each with one run at a time, until the context ends."""
    with ExitStack() as running:
        worker = ["-m", "prefect", "worker", "start", "--pool", "linewise", "--type", "process", "--limit", "1"]
        workers = [running.enter_context(plant.process(f"worker{n}", *worker, to=url)) for n in range(2)]
        yield "2 Prefect workers", {}, workers


def count_rows(url: str) -> int:
    """How many images have a result; none before there is a table."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sqlalchemy.text("SELECT count(*) FROM results")).scalar_one())
    except ProgrammingError:
        return 0
    finally:
        engine.dispose()


def taken(url: str, by: str, *, killed: bool, seconds: float) -> Taken:
    """Read what the store has at the end."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT image_sha256, score, decision FROM results")).all()
    engine.dispose()
    scores = {sha256: (score, decision) for sha256, score, decision in found}
    return Taken(by=by, killed=killed, seconds=seconds, rows=len(found), scores=scores)


def wait_for(what: str, there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something answers, or end with what did not."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not there():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start")
        time.sleep(_BETWEEN_LOOKS)


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  # our own address
            return answer.status == 200
    except (URLError, OSError):
        return False


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
