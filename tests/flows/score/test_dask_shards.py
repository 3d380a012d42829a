"""Shards on a real Dask cluster that are cancelled in the middle: each ends, nothing is left, and no row is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("prefect_dask", reason="the extra `dask` is not installed")

from distributed import Client, Future, LocalCluster
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterStartTime
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelling

from deploy.results.store import ResultStore
from flows.score import job
from flows.score.flow import score_folder
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from pipeline.synthetic.lines import generate_line
from tests.end_to_end.prefect_plant import free_port, stop
from tests.flows.adapted_home import LINE, score_request

pytestmark = pytest.mark.timeout(600)  # on a busy machine; alone they take seconds

PARTS, SHOTS, SIDE = 4, 12, 3000
"""Contents of few parts, large enough that a shard takes seconds."""
WAIT_SECONDS = 120
TOLD = "not scored to its end, its images are scored now"


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """Images that take long to decode: one for each part, and further ones that differ in what follows the pixels."""
    line, rng, folder = generate_line(7, size=96), np.random.default_rng(0), tmp_path / "camera"
    folder.mkdir()
    for part in range(PARTS):
        large = cv2.resize(line.good(rng).image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        data = cv2.imencode(".png", large)[1].tobytes()
        for shot in range(SHOTS):
            (folder / f"{part}_{shot:02}.png").write_bytes(data + bytes(shot))
    return folder


@pytest.fixture
def dask(
    prefect_api: None, adapted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalCluster]:
    """A scheduler and two workers, processes of one thread each, whose temporary folder is `shards`."""
    (tmp_path / "shards").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shards"))
    cluster: Any = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster:
        monkeypatch.setenv("LINEWISE_DASK_SCHEDULER", cluster.scheduler_address)
        yield cluster


@pytest.fixture
def scheduler(
    prefect_api: None, adapted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler's process, beside two workers without anybody who starts them again."""
    (tmp_path / "shards").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shards"))
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    commands = [["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += 2 * [["dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]]
    with (tmp_path / "dask.log").open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{name}", *options, "--dashboard-address", "127.0.0.1:0"],
                stdout=log,
                stderr=log,
            )
            for name, *options in commands
        ]
        monkeypatch.setenv("LINEWISE_DASK_SCHEDULER", address)
        try:
            yield started[0]
        finally:
            for process in reversed(started):
                stop(process)


def rows() -> dict[str, float | None]:
    """The score of each content in the store, once."""
    with ResultStore(load_settings().database) as store:
        found = store.query(line=LINE, limit=None)
    assert all(count == 1 for count in Counter(row.image_sha256 for row in found).values())
    return {str(row.image_sha256): row.score for row in found}


def of_one_process(camera: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """What one process says of each content: of every part the first image is scored, the others show the same."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for part in range(PARTS):
        os.link(camera / f"{part}_00.png", alone / f"{part}.png")
    with monkeypatch.context() as patch:
        patch.setenv("LINEWISE_DATABASE_URL", f"sqlite:///{tmp_path}/alone.sqlite")
        job.run(score_request(alone, images=alone), load_settings())
        scores = rows()
    first = {path.name[0]: sha256_file(path) for path in camera.glob("*_00.png")}
    return {sha256_file(path): scores[first[path.name[0]]] for path in camera.iterdir()}


@pytest.fixture
def since(prefect_api: None) -> datetime:
    """Before this test's runs: other tests have some on the same server."""
    return datetime.now(UTC)


def flow_runs(since: datetime) -> FlowRunFilter:
    return FlowRunFilter(start_time=FlowRunFilterStartTime.model_validate({"after_": since}))


def shard_states(since: datetime) -> dict[str, tuple[str | None, str]]:
    """Names and messages of the states of the shards' tasks, by their names."""
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=flow_runs(since))
    return {
        task.name: (task.state_name, (task.state.message or "") if task.state else "")
        for task in found
        if task.name.startswith("shard ")
    }


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@contextmanager
def once_there_are_rows(act: Callable[[], None]) -> Iterator[None]:
    """Do something from another thread while shards score."""
    raised = list[BaseException]()

    def look_on() -> None:
        try:
            until(lambda: len(rows()) > 0)
            act()
        except BaseException as error:  # told below
            raised.append(error)

    onlooker = threading.Thread(target=look_on)
    onlooker.start()
    yield
    onlooker.join()
    assert not raised, raised


def left_of_shards() -> list[str]:
    return [path.name for path in Path(tempfile.gettempdir()).glob("linewise-shard-*")]


def test_a_shard_whose_dask_task_is_cancelled_ends_and_the_run_scores_its_images(
    dask: LocalCluster,
    camera: Path,
    since: datetime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
    expected = of_one_process(camera, tmp_path, monkeypatch)

    def cancel_one() -> None:
        somebody: Any = Client(dask.scheduler_address, set_as_default=False)
        with somebody:
            key = next(key for keys in somebody.processing().values() for key in keys)
            somebody.cancel([Future(key, client=somebody)], force=True)
        until(lambda: "Crashed" in [name for name, _ in shard_states(since).values()])
        assert len(rows()) < len(expected), "it went on to its end"

    with once_there_are_rows(cancel_one):
        state = score_folder(score_request(camera, images=camera), shards=2, return_state=True)
    assert state.is_completed(), state.message
    assert rows() == pytest.approx(expected)
    ended = shard_states(since)
    assert sorted(str(name) for name, _ in ended.values()) == ["Completed", "Crashed"]
    (lost,) = (shard for shard, (name, _) in ended.items() if name == "Crashed")
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"{lost} was {TOLD}")]
    assert not left_of_shards()


def test_shards_end_with_the_run_that_is_cancelled_and_a_new_run_goes_on(
    dask: LocalCluster, camera: Path, since: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
    expected = of_one_process(camera, tmp_path, monkeypatch)

    def cancel_the_run() -> None:
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(flow_run_filter=flow_runs(since))
            (run,) = (run for run in found if run.name == f"score {LINE}")
            client.set_flow_run_state(run.id, Cancelling())
        os.kill(os.getpid(), signal.SIGTERM)  # as its worker does

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Prefect sends itself another one at its end
    with once_there_are_rows(cancel_the_run), pytest.raises(TerminationSignal):
        score_folder(score_request(camera, images=camera), shards=4)
    signal.signal(signal.SIGTERM, before)
    until(lambda: {name for name, _ in shard_states(since).values()} == {"Cancelled"})
    told = [message for _, message in shard_states(since).values()]
    assert len(told) == 2, "those that waited never began"
    assert all(message.endswith("which this is done for, has ended.") for message in told)
    assert not left_of_shards()
    kept = rows()
    assert 0 < len(kept) < len(expected)
    time.sleep(1)
    assert rows() == kept, "nobody goes on"
    state = score_folder(score_request(camera, images=camera), shards=2, return_state=True)
    assert state.is_completed(), state.message
    assert rows() == pytest.approx(expected)
    assert {row: rows()[row] for row in kept} == kept


def test_shards_whose_scheduler_is_gone_end_and_the_run_scores_their_images(
    scheduler: subprocess.Popen[bytes], camera: Path, since: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
    expected = of_one_process(camera, tmp_path, monkeypatch)
    with once_there_are_rows(scheduler.kill):
        state = score_folder(score_request(camera, images=camera), shards=3, return_state=True)
    assert state.is_completed(), state.message
    assert rows() == pytest.approx(expected)
    ended = [name for name, _ in shard_states(since).values()]
    assert len(ended) == 2
    assert set(ended) <= {"Crashed", "Cancelled"}, "whether the shard looked before its run was over"
    assert not left_of_shards()
