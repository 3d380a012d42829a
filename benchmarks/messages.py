"""How long after an image is written its message comes, and what telling costs scoring.

    python -m benchmarks.messages [--images 300] [--a-second 5] [--cost-images 100] [--rounds 8] [--backlog 1000]
        [--write]

`linewise score --watch --publish` in a process of its own scores what a camera writes into a folder; this process is
camera and receiver: a webhook's server, a subscriber of a mosquitto of its own, and an OPC UA server with one String
variable. The delay is from the camera's closing (or renaming) of a file to the receiver's having its message, by this
process's clock. The cost: the same images scored in turns without telling, and telling each receiver, each time into a
new result store. The backlog: so many messages that wait in a result store, delivered to a receiver that was away.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from benchmarks.deployments import LINE, DeployedLine, adapt_bank, engine_of
from benchmarks.many_images import DEFECTS, write_images
from benchmarks.message_receivers import Listening, OnMessage, broker, opcua, subscribed, webhook
from benchmarks.study import Study, options
from benchmarks.tables import table
from benchmarks.turns import Taken, in_turns, median_ratio
from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Sender
from deploy.messages.told import Told
from deploy.results.schema import OutboxRow
from deploy.results.store import ResultStore
from deploy.scoring.scorer import score_images
from deploy.scoring.sources.folder import FolderSource
from pipeline.settings import load_settings

SIDE = 640  # of the camera's images, pixels


def main() -> None:
    """Print the figures, and with --write put them into the page."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--a-second", type=float, default=5)
    parser.add_argument("--cost-images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--backlog", type=int, default=1000)
    study = Study(__file__, parser)
    asked = study.asked
    with tempfile.TemporaryDirectory(prefix="linewise-messages-") as scratch, broker(Path(scratch)) as mqtt:
        root = Path(scratch)
        write_images(root / "camera", asked.images - DEFECTS, SIDE)
        deployed = DeployedLine(root / "camera", load_settings(root / "home"))
        adapt_bank(deployed.images, deployed.settings, defects=0)
        pictures = list({path.read_bytes(): None for path in sorted((root / "camera").rglob("*.jpg"))})  # each once
        np.random.default_rng(0).shuffle(pictures)  # type: ignore[arg-type]  # a list is one
        rows = []
        kinds: dict[str, Listening] = {"MQTT": subscribed(mqtt), "webhook": webhook(), "OPC UA": opcua()}
        for receiver, listening in kinds.items():
            with listening as (address, listen):
                for by_rename in (False, True):
                    scenario = root / f"{receiver}-{by_rename}"
                    found = watched(deployed, scenario, pictures, address, listen, asked.a_second, by_rename=by_rename)
                    delays = [delay for delay, _ in found]
                    p50, p99 = np.percentile(delays, [50, 99])
                    after_scoring = float(np.median([after for _, after in found]))
                    how = "renamed when it is whole" if by_rename else "written in place"
                    seconds = (f"{s:.2f}" for s in (p50, p99, max(delays), after_scoring))
                    rows.append([receiver, how, str(len(delays)), *seconds])
                    print(rows[-1], flush=True)
        with apart("webhook") as posted, apart("OPC UA") as written:
            addresses = {"MQTT": mqtt, "webhook": posted, "OPC UA": written}
            costs = cost(deployed, root, addresses, pictures[: asked.cost_images], asked.rounds)
            rates = [[side, *backlog(root / f"backlog-{side}", to, asked.backlog)] for side, to in addresses.items()]
    heads = ["receiver", "the file is", "messages", "p50, s", "p99, s", "longest, s", "p50 from scored on, s"]
    study.publish(
        table(heads, rows),
        table(["told", "ms an image", "its CPU, ms", "times the CPU of none"], costs),
        table(["receiver", f"{asked.backlog} waiting messages, a second", "sender's CPU a message, ms"], rates),
    )


def watched(
    deployed: DeployedLine,
    scenario: Path,
    pictures: Sequence[bytes],
    address: str,
    listen: Callable[[OnMessage], None],
    a_second: float,
    *,
    by_rename: bool,
) -> list[tuple[float, float]]:
    """Let a camera write the pictures, and a process of its own score and tell them.

    Returns:
        For each message but the first the seconds since its file was written, and since it was scored.
    """
    folder, written = scenario / "images", dict[str, float]()
    arrived: dict[str, tuple[float, float]] = {}
    folder.mkdir(parents=True)

    def take(body: bytes) -> None:
        message, now = json.loads(body), time.time()
        scored_at = datetime.fromisoformat(message["scored_at"]).timestamp()
        arrived.setdefault(Path(message["image_path"]).name, (now, now - scored_at))

    listen(take)
    command = [sys.executable, "-m", "flows.cli", "score", LINE, str(folder), "--watch", "--device", "cpu"]
    environment = {**os.environ, "LINEWISE_HOME": str(deployed.settings.home)}
    environment["LINEWISE_DATABASE_URL"] = f"sqlite:///{scenario / 'results.sqlite'}"
    log_file = scenario / "log"
    with log_file.open("wb") as log:
        scoring = subprocess.Popen([*command, "--publish", address], env=environment, stdout=log, stderr=log)  # noqa: S603
    began = 0.0
    try:
        for number, picture in enumerate(pictures):
            path = folder / f"{number:05}.jpg"
            part = path.with_suffix(".part") if by_rename else path
            with part.open("wb") as file:
                file.write(picture)
            if by_rename:
                part.rename(path)
            written[path.name] = time.time()
            if number == 0:  # it warms up on the first one
                wait_for(lambda: bool(arrived), scoring, log_file)
                began = time.monotonic()
            time.sleep(max(0.0, began + (number + 1) / a_second - time.monotonic()))
        wait_for(lambda: len(arrived) == len(pictures), scoring, log_file)
    finally:
        scoring.send_signal(signal.SIGINT)
        scoring.wait(60)
    return [(arrived[name][0] - written[name], arrived[name][1]) for name in sorted(written)[1:]]


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait a minute at most for what a process does.

    Raises:
        RuntimeError: it did not happen; with the end of its log.
    """
    deadline = time.monotonic() + 60
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the messages did not come: {log.read_text()[-2000:]}")
        time.sleep(0.01)


@contextmanager
def apart(kind: str) -> Iterator[str]:
    """The address of a receiver in a process of its own: what it costs is not ours."""
    listening = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "benchmarks.messages", "listen", kind], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listening.stdout is not None
        yield listening.stdout.readline().strip()
    finally:
        listening.kill()
        listening.wait()


def backlog(database: Path, address: str, messages: int) -> tuple[str, str]:
    """The table's cells: messages delivered a second, and the milliseconds of CPU time of one."""
    body = json.dumps({"id": "0" * 64, "image_written_at": None, "filled_up": "x" * 800})
    with ResultStore(database) as store:
        with store.writing_session() as session:
            row = {
                "destination": address,
                "line": LINE,
                "decision": "PASS",
                "body": body,
                "queued_at": datetime.now(UTC),
            }
            session.execute(insert(OutboxRow), [row | {"message_id": f"{number:064}"} for number in range(messages)])
        began, cpu_began = time.perf_counter(), time.process_time()
        end = Sender(store.outbox, address, receiver_of(parse_destination(address), None, database="backlog")).close(
            300
        )
        took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    if end.delivered != messages:
        raise RuntimeError(f"not everything was delivered: {end}")
    return f"{messages / took:.0f}", f"{1e3 * cpu / messages:.2f}"


def cost(
    deployed: DeployedLine, root: Path, addresses: dict[str, str], pictures: Sequence[bytes], rounds: int
) -> list[list[str]]:
    """The table's rows: milliseconds an image without telling, and telling each receiver, all of it delivered."""
    folder = root / "cost"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        (folder / f"{number:05}.jpg").write_bytes(picture)
    deployment = deployed.deployment
    engine = engine_of(deployment)

    def score(side: str, address: str | None, number: int) -> None:
        with ResultStore(root / f"{side}-{number}.sqlite") as store:
            receiver = receiver_of(parse_destination(address), None, database=side) if address else None
            publisher = Publisher(store.outbox, address, tuple(Told), receiver) if address and receiver else None
            score_images(deployment.bundle, engine, FolderSource(folder), store, workers=2, publisher=publisher)
            if publisher is not None and publisher.end(30).waiting:
                raise RuntimeError("not everything was delivered")

    everyone: dict[str, str | None] = {"none": None, **addresses}
    sides = {side: lambda n, s=side, a=to: score(s, a, n) for side, to in everyone.items()}
    taken = in_turns(sides, rounds, warm_ups=1)
    return [_cost_row(side, found, taken["none"], len(pictures)) for side, found in taken.items()]


def _cost_row(side: str, found: Sequence[Taken], none: Sequence[Taken], images: int) -> list[str]:
    wall, cpu = (1e3 * float(np.median([getattr(one, name) for one in found])) / images for name in Taken._fields)
    ratio = median_ratio([one.cpu for one in found], [one.cpu for one in none])
    return [side, f"{wall:.1f}", f"{cpu:.1f}", "" if side == "none" else f"{ratio:.2f}"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["listen"]:
        with webhook() if sys.argv[2] == "webhook" else opcua() as (receiver_address, _):
            print(receiver_address, flush=True)
            threading.Event().wait()
    else:
        main()
