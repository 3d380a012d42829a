"""Cameras that write slowly, in parts, over what is read, and under names that they used before."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path
from random import Random

from deploy.results.schema import ResultStatus
from pipeline.storage import sha256_file
from tests.faults import activities
from tests.faults.children import wait_until
from tests.faults.fault import Trial
from tests.faults.scene import Scene


class Camera:
    """Writes a scene's images into a folder, from a thread of its own.

    Args:
        scene: whose images.
        every: seconds from image to image.
        parts: in how many writes a file comes, under its final name; 1: under another name first, then renamed.
        pause: seconds between two of those writes.
        names: how many names it uses, in turns, each again once its image has a row; None: a new one for each image.
    """

    def __init__(
        self, scene: Scene, *, every: float, parts: int = 1, pause: float = 0.0, names: int | None = None
    ) -> None:
        self.folder = scene.root / "camera"
        self.folder.mkdir()
        self._scene = scene
        self._images = sorted(scene.images.rglob("*.png"))
        self._every, self._parts, self._pause, self._names = every, parts, pause, names
        self._thread = threading.Thread(target=self._write_all, daemon=True)

    def begin(self) -> None:
        """Begin to write, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def wait(self) -> None:
        """Wait until all is written."""
        self._thread.join()

    def _write_all(self) -> None:
        for number, image in enumerate(self._images):
            if self._names is not None and number >= self._names:
                wait_until(partial(self._has_row, self._images[number - self._names]), "the row of a name's image")
            name = number if self._names is None else number % self._names
            self._write(self.folder / f"{name:04}.png", image.read_bytes())
            time.sleep(self._every)

    def _has_row(self, image: Path) -> bool:
        return sha256_file(image) in self._scene.kept()

    def _write(self, path: Path, content: bytes) -> None:
        if self._parts == 1:
            partial = path.with_suffix(".part")
            partial.write_bytes(content)
            partial.rename(path)
            return
        size = -(-len(content) // self._parts)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), size):
                file.write(content[start : start + size])
                time.sleep(self._pause)


def _watch(scene: Scene, camera: Camera) -> None:
    """Watch a camera to its end: each image is scored once, whatever the camera did meanwhile."""
    child = scene.child(activities.score, camera.folder, True)
    camera.begin()
    camera.wait()
    wait_until(lambda: len(scene.kept()) >= len(scene.scores), "all images have a row", child)
    child.stop()
    child.result()
    scene.all_scored()
    unreadable = [row.reason for row in scene.rows() if row.status is ResultStatus.UNREADABLE]
    assert not unreadable, f"complete images were called unreadable: {unreadable[:3]}"


def slow(trial: Trial) -> None:
    """A camera writes each file in five parts, with pauses: none is read before it is whole."""
    scene = trial.stage.scene()
    _watch(scene, Camera(scene, every=0.05, parts=5, pause=trial.rng.uniform(0.02, 0.2)))
    trial.count("images", len(scene.scores))


def reused_names(trial: Trial) -> None:
    """A camera writes under the same eight names again and again, each time once the name's last image is scored."""
    scene = trial.stage.scene()
    _watch(scene, Camera(scene, every=0.05, names=8))
    trial.count("images", len(scene.scores))


def replaced_while_read(trial: Trial) -> None:
    """Files of a folder are replaced and written over while it is scored: each score is of a content that was there,
    whole, and a second run scores what is there then.
    """
    scene = trial.stage.scene()
    contents = [path.read_bytes() for path in sorted(scene.images.rglob("*.png"))]
    folder = scene.root / "changing"
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number:04}.png").write_bytes(content)
    ended = threading.Event()

    def change(rng: Random) -> None:
        while not ended.wait(0.002):
            path, content = folder / f"{rng.randrange(len(contents)):04}.png", rng.choice(contents)
            if rng.random() < 0.5:
                path.with_suffix(".part").write_bytes(content)
                path.with_suffix(".part").rename(path)
            else:
                with path.open("r+b", buffering=0) as file:  # as some cameras write over what they have
                    for start in range(0, len(content), 4096):
                        file.write(content[start : start + 4096])
                    os.ftruncate(file.fileno(), len(content))
            trial.count("changes")

    changing = threading.Thread(target=change, args=(Random(trial.rng.random()),), daemon=True)
    changing.start()
    scene.child(activities.score, folder).result()
    ended.set()
    changing.join()
    scene.rows()
    for number, content in enumerate(contents):
        (folder / f"{number:04}.png").write_bytes(content)
    scene.child(activities.score, folder).result()
    scene.all_scored()
