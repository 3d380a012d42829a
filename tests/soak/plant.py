"""A plant under a steady load: a camera, a command that scores what it writes, and a new version promoted at times."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.deployments import LINE, deployed_line
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import add_with_threshold
from pipeline.imaging.files import is_image_name
from tests.checkout import REPOSITORY

_STAYING = 200
"""Images that stay in the camera's folder; older ones go, as where a plant archives them."""


class Sample(NamedTuple):
    """What a process holds at a moment."""

    memory_mib: float
    descriptors: int
    threads: int


class Plant:
    """A context manager; `promote` and `sample` it meanwhile.

    Args:
        root: a new folder.
        every: seconds from image to image.
    """

    def __init__(self, root: Path, every: float) -> None:
        self._line = deployed_line(root, side=128)
        self._registry, self._every = Registry(self._line.settings.home), every
        self._folder = root / "plant"
        (self._folder / LINE).mkdir(parents=True)
        self._told = (root / "told").open("wb")
        self._ended = threading.Event()
        self._camera = threading.Thread(target=self._write, daemon=True)
        self.written: dict[str, float] = {}
        """When each image was written, by its name: seconds since 1970."""
        self._seen = 0

    def __enter__(self) -> Plant:
        command = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())", "score-plant"]
        command += [str(self._folder), "--watch", "--device", "cpu", "--workers", "1"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "LINEWISE_HOME": str(self._line.settings.home),
        }
        self._process = subprocess.Popen(command, env=environment, stdout=self._told, stderr=self._told)
        self._camera.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._process.kill()
        self._process.wait()
        self._told.close()

    def promote(self) -> None:
        """Make a new version live: the same head under another name, as a threshold set anew has it."""
        bundle = self._registry.live(LINE)
        threshold, promise = bundle.manifest.threshold, bundle.manifest.promise
        new = add_with_threshold(self._registry, bundle, threshold, promise=promise, calibration=None)
        self._registry.promote(LINE, new.manifest.version)

    def sample(self) -> Sample:
        """What the scoring process holds now.

        Raises:
            AssertionError: it has ended.
        """
        code = self._process.poll()
        assert code is None, f"scoring ended with {code}: {self.told()}"
        process = Path("/proc") / str(self._process.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
        descriptors = len(list((process / "fd").iterdir()))
        return Sample(int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"]))

    def latencies(self) -> list[float]:
        """Seconds from the image's writing to its score, of the images scored since this was asked last."""
        database = self._line.settings.home / "results.sqlite"
        if not database.exists():
            return []
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            statement = "SELECT id, image_path, scored_at FROM results WHERE id > ? ORDER BY id"
            try:
                rows = connection.execute(statement, (self._seen,)).fetchall()
            except sqlite3.OperationalError:  # its tables are being made
                return []
        self._seen = rows[-1][0] if rows else self._seen
        scored = [(Path(path).name, datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) for _, path, at in rows]
        return [at - self.written[name] for name, at in scored]

    def stop(self, seconds: float) -> None:
        """End camera and command, as a service manager does; all that was written has a row then.

        Raises:
            AssertionError: an image has no row, or the command did not end well.
        """
        self._ended.set()
        self._camera.join()
        deadline = time.monotonic() + seconds
        while self._seen < len(self.written) and time.monotonic() < deadline:
            self.latencies()
            time.sleep(0.2)
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(seconds)
        assert code == 0, f"scoring ended with {code}: {self.told()}"
        with closing(sqlite3.connect(self._line.settings.home / "results.sqlite")) as connection:
            names = [Path(path).name for (path,) in connection.execute("SELECT image_path FROM results")]
            versions = connection.execute("SELECT count(DISTINCT bundle_id) FROM results").fetchone()[0]
        assert sorted(names) == sorted(self.written), f"{len(names)} rows of {len(self.written)} images"
        self.versions = versions

    def told(self) -> str:
        """The end of what the command said."""
        return Path(self._told.name).read_text(errors="replace")[-2000:]

    def _write(self) -> None:
        images = [path for path in sorted((self._line.images / "test").rglob("*")) if is_image_name(path.name)]
        pixels = [cv2.imread(os.fspath(path)) for path in images]
        staying: deque[Path] = deque()
        rng, number, due = np.random.default_rng(0), 0, time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic() - 1.0) + self._every
            image = pixels[number % len(pixels)]
            assert image is not None
            noisy = cv2.add(image, rng.integers(0, 2, image.shape, np.uint8))  # content that no row has yet
            done, encoded = cv2.imencode(".png", noisy)
            assert done
            path = self._folder / LINE / f"{number:07}.png"
            path.with_suffix(".part").write_bytes(encoded.tobytes())
            self.written[path.name] = time.time()
            path.with_suffix(".part").rename(path)
            staying.append(path)
            if len(staying) > _STAYING:
                staying.popleft().unlink()
            number += 1
