"""Disks that are full, and folders that may not be written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults import activities
from tests.faults.children import Child, Ended
from tests.faults.fault import SkippedError, Trial
from tests.faults.scene import Scene
from tests.parts.rights import give_up_overrides

_ACTIVITIES = ("score", "adapt", "export", "meta-train")


def _scenes(trial: Trial) -> Iterator[tuple[str, Scene]]:
    _ = trial.stage.meta_lines  # so that scenes know what meta-training traces
    for activity in _ACTIVITIES:
        yield activity, trial.stage.scene()


def _ended(child: Child) -> Ended:
    ended = child.ended()
    assert ended is not None, "the work goes on without end"
    return ended


def _is_one_sentence(ended: Ended) -> None:
    assert ended.how in ("refused", "done"), f"the work {ended.how}: {ended.what}"
    if ended.how == "refused":
        assert str(ended.what).startswith("expected "), f"no sentence: {ended.what}"
        assert "\n" not in ended.what, f"more than a sentence: {ended.what}"


def _work(trial: Trial, scene: Scene, activity: str, prepare: Callable[[], None] | None = None) -> Ended:
    """Do one of `_ACTIVITIES` in a scene, to whatever end."""
    settings, said = scene.settings, scene.said
    begin = partial(Child, said=said, prepare=prepare)
    if activity == "score":
        return _ended(begin(activities.score, settings, scene.images))
    if activity == "adapt":
        return _ended(begin(activities.adapt, settings, scene.line))
    if activity == "export":
        return _ended(begin(activities.export, settings, scene.settings.home / "packs" / "pack"))
    run = scene.settings.home / "run"
    resume = (run / "checkpoint.pt").exists()
    return _ended(begin(activities.meta_train, settings, trial.stage.meta_lines, run, resume))


def _all_is_well(trial: Trial, scene: Scene, activity: str) -> None:
    """After room was made: the work comes to its end, everything is whole, nothing half-written lies about."""
    ended = _work(trial, scene, activity)
    if activity == "export" and ended.how == "refused":  # a pack that was whole before its process was told of room
        ended = Ended("done") if (scene.settings.home / "packs" / "pack").is_dir() else ended
    assert ended.how == "done", f"with room again, the work {ended.how}: {ended.what}"
    scene.versions_are_whole()
    scene.reports_are_whole()
    scene.no_litter(scene.settings.home)
    if activity == "score":
        scene.all_scored()


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own at a folder, of 64 MiB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder.mkdir(parents=True)
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if mount is None or umount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        raise SkippedError("no right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run([umount, "-l", str(folder)], check=True)


def full(trial: Trial) -> None:
    """A disk has room for a random part of what the work writes: it stops with a sentence, and goes on with room."""
    for activity, scene in _scenes(trial):
        kept = scene.settings.home.rename(scene.root / "kept")
        with _small_disk(scene.root / "home"):
            shutil.copytree(kept, scene.root / "home", dirs_exist_ok=True)
            ballast, room = scene.root / "home" / "ballast", int(2 ** trial.rng.uniform(12, 19))
            _fill(ballast, leave=room)
            ended = _work(trial, scene, activity)
            _is_one_sentence(ended)
            trial.count(ended.how)
            ballast.unlink()
            _all_is_well(trial, scene, activity)


def temporary_full(trial: Trial) -> None:
    """The folder of temporary files, on another disk than the home, has room for a random part: likewise."""
    for activity, scene in _scenes(trial):
        folder = scene.root / "temporary"
        with _small_disk(folder):
            _fill(folder / "ballast", leave=int(2 ** trial.rng.uniform(12, 16)))
            ended = _work(trial, scene, activity, partial(_use_for_temporary_files, folder))
            _is_one_sentence(ended)
            trial.count(ended.how)
        if ended.how == "refused" or activity == "score":
            _all_is_well(trial, scene, activity)


def _use_for_temporary_files(folder: Path) -> None:
    tempfile.tempdir = str(folder)


def _fill(ballast: Path, leave: int) -> None:
    free = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize - leave)


def limited_files(trial: Trial) -> None:
    """No file may grow beyond a random size (as a quota, or an old file system): likewise."""
    for activity, scene in _scenes(trial):
        ended = _work(trial, scene, activity, partial(_limit, int(2 ** trial.rng.uniform(10, 18))))
        _is_one_sentence(ended)
        trial.count(ended.how)
        _all_is_well(trial, scene, activity)


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def not_writable(trial: Trial) -> None:
    """Each folder of the home in turn may not be written: a sentence, and all goes on once it may."""
    for activity, scene in _scenes(trial):
        folders = [scene.settings.home, *sorted(path for path in scene.settings.home.iterdir() if path.is_dir())]
        for folder in trial.rng.sample(folders, min(3, len(folders))):
            mode = folder.stat().st_mode
            folder.chmod(0o555)
            try:
                ended = _work(trial, scene, activity, _without_overrides)
            finally:
                folder.chmod(mode)
            _is_one_sentence(ended)
            trial.count(ended.how)
        _all_is_well(trial, scene, activity)


def _without_overrides() -> None:
    if os.geteuid() == 0:
        give_up_overrides()
