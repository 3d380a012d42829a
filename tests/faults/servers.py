"""A Prefect server that goes and comes back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.client.orchestration import SyncPrefectClient

from tests.checkout import REPOSITORY
from tests.end_to_end.prefect_plant import healthy, running_server, started
from tests.faults import activities
from tests.faults.cameras import Camera
from tests.faults.children import WAIT_SECONDS, wait_until
from tests.faults.fault import Trial
from tests.faults.scene import Scene


def prefect_away(trial: Trial) -> None:
    """The Prefect server stops while a run of it watches a folder, and comes back: images are scored all the while, and
    the run ends as Completed.
    """
    scene = trial.stage.scene()
    camera, api = Camera(scene, every=max(trial.seconds / len(scene.scores), 0.2)), ""
    with ExitStack() as watched:
        with running_server(scene.root, PYTHONPATH=str(REPOSITORY)) as environment:
            api = environment["PREFECT_API_URL"]
            process = watched.enter_context(_watching(scene, camera, environment))
            camera.begin()
            wait_until(lambda: bool(scene.rows()) or process.poll() is not None, "the first rows")
        before = len(scene.rows())
        time.sleep(trial.seconds)
        trial.count("images while it was away", len(scene.rows()) - before)
        with started(scene.root, environment, "server-again", "server", "start"):
            wait_until(lambda: healthy(f"{api}/health"), "a server that is back")
            camera.wait()
            wait_until(lambda: len(scene.kept()) >= len(scene.scores) or process.poll() is not None, "all rows")
            process.send_signal(signal.SIGTERM)
            code = process.wait(WAIT_SECONDS)
            assert code == 0, f"the command ended with {code}: {(scene.root / 'told').read_text()[-2000:]}"
            states = _states(api)
    scene.all_scored()
    scene.reports_are_whole()
    assert states == ["COMPLETED"], f"the server says of the run: {states}"


@contextmanager
def _watching(scene: Scene, camera: Camera, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`linewise score --watch` as a run of the server."""
    command = [sys.executable, "-m", "flows.cli", "score", activities.LINE, str(camera.folder)]
    command += ["--watch", "--device", "cpu", "--workers", "1"]
    with (scene.root / "told").open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _states(api: str) -> list[str]:
    """The types of the states of all runs, as the server has them."""
    with SyncPrefectClient(api=api) as client:
        return [run.state_type.value if run.state_type else "" for run in client.read_flow_runs()]
