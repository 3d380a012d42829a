"""A clock that jumps by hours and days, both ways, as when a machine's battery is empty or somebody sets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.checkout import REPOSITORY
from tests.faults import activities
from tests.faults.cameras import Camera
from tests.faults.children import WAIT_SECONDS, wait_until
from tests.faults.fault import SkippedError, Trial

_JUMPS = ("+1h", "-2d", "+40d", "-1h", "+0")


def _library() -> Path:
    """libfaketime, which stands between a process and the clock.

    Raises:
        SkippedError: it is not there.
    """
    if named := os.environ.get("LINEWISE_TEST_FAKETIME"):
        return Path(named)
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise SkippedError("no libfaketime: install it or set LINEWISE_TEST_FAKETIME to its libfaketimeMT.so.1")
    return found[-1]


def jumps(trial: Trial) -> None:
    """The clock jumps while a folder is watched: every image is scored, once, and a second run finds all of them."""
    library, scene = _library(), trial.stage.scene()
    clock, camera = scene.root / "clock", Camera(scene, every=0.2)
    clock.write_text("+0")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "LINEWISE_HOME": str(scene.settings.home),
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # which no jump of a real clock moves
        "NO_FAKE_STAT": "1",
    }
    command = [
        sys.executable,
        "-c",
        "import sys; from flows.cli import main; sys.exit(main())",
        "score",
        activities.LINE,
        str(camera.folder),
    ]
    command += ["--watch", "--device", "cpu", "--workers", "1"]
    with (scene.root / "told").open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)
        try:
            camera.begin()
            for number, jump in enumerate(_JUMPS, 1):
                enough = len(scene.scores) * number // (len(_JUMPS) + 1)
                wait_until(lambda enough=enough: len(scene.kept()) >= enough or process.poll() is not None, "rows")
                clock.with_suffix(".new").write_text(jump)
                clock.with_suffix(".new").replace(clock)
                trial.count("jumps")
            camera.wait()
            wait_until(lambda: len(scene.kept()) >= len(scene.scores) or process.poll() is not None, "all rows")
            process.send_signal(signal.SIGTERM)
            code = process.wait(WAIT_SECONDS)
        finally:
            process.kill()
            process.wait()
    assert code == 0, f"the command ended with {code}: {(scene.root / 'told').read_text()[-2000:]}"
    days = {row.scored_at.date() for row in scene.rows()}
    assert len(days) > 1, "the clock did not jump"
    scene.all_scored()
    scene.child(activities.score, camera.folder).result()
    scene.all_scored()
    scene.reports_are_whole()
