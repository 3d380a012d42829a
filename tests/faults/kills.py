"""`kill -9` at random moments, uniform over the time that the work takes undisturbed."""

from __future__ import annotations

import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from deploy.bundles.packs import open_packed
from deploy.results.schema import SCHEMA_REVISION
from pipeline.meta_model import load_meta_model
from tests.deploy.results.schema_steps import step_back
from tests.faults import activities
from tests.faults.cameras import Camera
from tests.faults.children import Child, wait_until, words
from tests.faults.fault import Trial
from tests.faults.scene import Kept

_ROWS = 8000
"""Of the result store that is brought up to date: enough that a kill comes in the middle."""


class Victim(ABC):
    """Work that is killed and begun again, until it comes to its end; then once more from the start."""

    @abstractmethod
    def begin(self) -> Child:
        """Begin it, or begin it again after a kill."""

    @abstractmethod
    def look(self) -> None:
        """After a kill: assert what holds at any moment."""

    @abstractmethod
    def look_at_end(self, ended: object) -> None:
        """After its own end: assert that all is there, and once. The next `begin` starts anew."""

    def wait(self, child: Child) -> object:
        """Wait for its end; what it returned."""
        return child.result()


def _kill_often(victim: Victim, trial: Trial) -> None:
    began = time.monotonic()
    victim.look_at_end(victim.wait(victim.begin()))
    seconds, unfinished = time.monotonic() - began, False
    kills = 0
    while kills < trial.kills or unfinished:
        child = victim.begin()
        moment = trial.rng.uniform(0, seconds) if kills < trial.kills else None
        if moment is None or child.ended(moment) is not None or not child.kill():
            victim.look_at_end(victim.wait(child))
            unfinished = False
            trial.count("ends")
        else:
            kills, unfinished = kills + 1, True
            trial.count("kills")
            victim.look()


class _Scoring(Victim):
    def __init__(self, trial: Trial) -> None:
        self._trial, self._scene = trial, trial.stage.scene()
        self._kept: Kept = {}

    def begin(self) -> Child:
        return self._scene.child(activities.score, self._scene.images)

    def look(self) -> None:
        rows, before = self._scene.kept(), self._kept
        assert before.items() <= rows.items(), "a row was lost or changed"
        reported = max((int(word) for word in words(self._scene.said)), default=0)
        assert reported <= len(rows), f"{reported} images were reported, {len(rows)} have a row"
        self._scene.reports_are_whole()
        self._kept = rows

    def look_at_end(self, ended: object) -> None:
        self.look()
        self._scene.all_scored()
        assert list((self._scene.root / "home").rglob("report.html")), "no report"
        self._scene, self._kept = self._trial.stage.scene(), {}


def scoring(trial: Trial) -> None:
    """Killed while it scores a folder: rows stay, none is twice, each score is the undisturbed one."""
    _kill_often(_Scoring(trial), trial)


class _Watching(Victim):
    """A camera writes on while scoring is killed and begun again."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._scene = trial, trial.stage.scene()
        self._kept: Kept = {}
        self._camera = Camera(self._scene, every=0.1)

    def begin(self) -> Child:
        self._camera.begin()
        self._words = len(words(self._scene.said))
        return self._scene.child(activities.score, self._camera.folder, True)

    def look(self) -> None:
        rows, before = self._scene.kept(), self._kept
        assert before.items() <= rows.items(), "a row was lost or changed"
        self._scene.reports_are_whole()
        self._kept = rows

    def wait(self, child: Child) -> object:
        self._camera.wait()
        wait_until(lambda: len(self._scene.kept()) == len(self._scene.scores), "all images have a row", child)
        wait_until(lambda: len(words(self._scene.said)) > self._words, "it says where it is", child)
        child.stop()  # which it heeds once it has begun
        return child.result()

    def look_at_end(self, ended: object) -> None:
        self.look()
        self._scene.all_scored()
        self._scene, self._kept = self._trial.stage.scene(), {}
        self._camera = Camera(self._scene, every=0.1)


def watching(trial: Trial) -> None:
    """Killed while a folder is watched that a camera writes into."""
    _kill_often(_Watching(trial), trial)


class _Adapting(Victim):
    def __init__(self, trial: Trial) -> None:
        self._scene = trial.stage.scene()
        self._begun = 1
        self._head = self._scene.registry.live(activities.LINE).head_sha256

    def begin(self) -> Child:
        self._begun += 1
        return self._scene.child(activities.adapt, self._scene.line)

    def look(self) -> None:
        names = self._scene.versions_are_whole()
        assert 1 <= len(names) <= self._begun, f"{len(names)} versions of {self._begun} adaptations"
        heads = {self._scene.registry.bundle(activities.LINE, name).head_sha256 for name in names}
        assert heads == {self._head}, "equal requests adapted to other heads"
        assert self._scene.registry.live_version(activities.LINE) in names

    def look_at_end(self, ended: object) -> None:
        self.look()
        assert self._scene.registry.live_version(activities.LINE) == ended, "the new version is not live"
        self._scene.no_litter(self._scene.root / "home" / "lines")


def adaptation(trial: Trial) -> None:
    """Killed while it adapts: each version that is listed is whole and as the others, what is live stays live."""
    _kill_often(_Adapting(trial), trial)


class _Exporting(Victim):
    def __init__(self, trial: Trial) -> None:
        self._scene, self._number = trial.stage.scene(), 0

    @property
    def _packs(self) -> Path:
        return self._scene.root / "packs"

    @property
    def _pack(self) -> Path:
        return self._packs / f"pack-{self._number}"

    def begin(self) -> Child:
        if self._pack.exists():  # the kill came between the rename and the end: a user would find it there
            self._number += 1
        return self._scene.child(activities.export, self._pack)

    def look(self) -> None:
        for path in self._packs.glob("pack-*"):
            open_packed(path)

    def look_at_end(self, ended: object) -> None:
        self.look()
        self._scene.no_litter(self._packs)
        self._number += 1


def export(trial: Trial) -> None:
    """Killed while it exports: a pack is whole or not there, and what was left half-written goes with the next."""
    _kill_often(_Exporting(trial), trial)


class _Promoting(Victim):
    def __init__(self, trial: Trial) -> None:
        self._scene = scene = trial.stage.scene()
        second = scene.child(activities.adapt, scene.line).result()
        self._versions = (scene.registry.versions(activities.LINE)[0].version, second)

    def begin(self) -> Child:
        return self._scene.child(activities.promote_in_turns, self._versions, 6)

    def look(self) -> None:
        self._scene.versions_are_whole()
        registry = self._scene.registry
        assert registry.live_version(activities.LINE) in self._versions
        decisions = registry.decisions(activities.LINE)
        for one, other in pairwise(decisions):
            assert (one.version, one.ruling, one.live) != (other.version, other.ruling, other.live), (
                f"that {one.version} was {one.ruling} is noted twice"
            )

    def look_at_end(self, ended: object) -> None:
        self.look()
        assert self._scene.registry.live_version(activities.LINE) == ended


def promotion(trial: Trial) -> None:
    """Killed while versions are promoted and rolled back: one is live, each decision is noted once."""
    _kill_often(_Promoting(trial), trial)


class _MetaTraining(Victim):
    def __init__(self, trial: Trial) -> None:
        self._lines = trial.stage.meta_lines
        self._scene, self._number = trial.stage.scene(), 0
        self._identifier: object = None

    @property
    def _run(self) -> Path:
        return self._scene.root / f"run-{self._number}"

    def begin(self) -> Child:
        resume = (self._run / "checkpoint.pt").exists()
        return self._scene.child(activities.meta_train, self._lines, self._run, resume)

    def look(self) -> None:
        if (self._run / "meta_model").exists():
            load_meta_model(self._run / "meta_model")

    def look_at_end(self, ended: object) -> None:
        self._identifier = self._identifier or ended
        assert ended == self._identifier, "a run that went on learned something else"
        assert load_meta_model(self._run / "meta_model").identifier == ended
        steps = (self._run / "losses.jsonl").read_text().splitlines()
        assert len(steps) == activities.STEPS, f"{len(steps)} of {activities.STEPS} steps are noted"
        self._scene.no_litter(self._run)
        self._number += 1


def meta_training(trial: Trial) -> None:
    """Killed while it meta-trains: it goes on from its checkpoint to the very same meta-model."""
    _kill_often(_MetaTraining(trial), trial)


class _Migrating(Victim):
    def __init__(self, trial: Trial) -> None:
        scene = trial.stage.scene()
        scene.child(activities.score, scene.images).result()
        self._path, self._scene = scene.root / "home" / "results.sqlite", scene
        with closing(sqlite3.connect(self._path)) as connection, connection:
            names = [row[1] for row in connection.execute("PRAGMA table_info(results)") if row[1] != "id"]
            chosen = ", ".join(names)
            altered = ", ".join("image_sha256 || '-' || ?" if name == "image_sha256" else name for name in names)
            first = len(scene.scores)
            for copy in range(_ROWS // first):
                statement = f"INSERT INTO results ({chosen}) SELECT {altered} FROM results WHERE id <= {first}"
                connection.execute(statement, (copy,))
        self._before = self._rows()
        self._step_back()

    def begin(self) -> Child:
        return Child(activities.open_store, f"sqlite:///{self._path}", said=self._scene.said)

    def look(self) -> None:
        assert self._rows() == self._before, "rows were lost or changed"
        with closing(sqlite3.connect(self._path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def look_at_end(self, ended: object) -> None:
        self.look()
        with closing(sqlite3.connect(self._path)) as connection:
            assert connection.execute("SELECT version_num FROM linewise_schema").fetchall() == [(SCHEMA_REVISION,)]
        self._step_back()

    def _step_back(self) -> None:
        step_back(self._path, "0001")

    def _rows(self) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self._path)) as connection:
            return connection.execute("SELECT id, image_sha256, score FROM results ORDER BY id").fetchall()


def migration(trial: Trial) -> None:
    """Killed while the result store of an older version is brought up to date."""
    _kill_often(_Migrating(trial), trial)
