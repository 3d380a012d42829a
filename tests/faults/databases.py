"""A result store that is locked, or away."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from deploy.results.store import ResultStore
from pipeline.settings import Settings
from tests.deploy.results.postgres_server import PostgresServer, nothing_to_run
from tests.faults import activities
from tests.faults.children import Child, Ended, wait_until
from tests.faults.fault import SkippedError, Trial
from tests.faults.scene import Scene


def locked(trial: Trial) -> None:
    """Another process holds SQLite's lock for a while: work goes on, or stops with a sentence and catches up."""
    scene = trial.stage.scene()
    with ResultStore(scene.settings.database):
        pass
    child = scene.child(activities.score, scene.images)
    wait_until(lambda: bool(scene.rows()), "the first rows", child)
    with closing(sqlite3.connect(scene.settings.home / "results.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout=60000")
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(trial.seconds)
        connection.execute("ROLLBACK")
    _goes_on_or_catches_up(trial, scene, child, scene.settings)


def away(trial: Trial) -> None:
    """PostgreSQL is stopped in the middle of scoring and started again: likewise."""
    if (lacking := nothing_to_run()) is not None:
        raise SkippedError(lacking)
    scene = trial.stage.scene()
    with tempfile.TemporaryDirectory(prefix="linewise-postgres-") as folder, PostgresServer(Path(folder)) as server:
        settings = scene.settings.model_copy(update={"database_url": SecretStr(server.url)})
        child = Child(activities.score, settings, scene.images, said=scene.said)
        wait_until(lambda: bool(scene.rows(server.url)), "the first rows", child)
        server.stop()
        time.sleep(trial.seconds)
        server.start()
        _goes_on_or_catches_up(trial, scene, child, settings)


def _goes_on_or_catches_up(trial: Trial, scene: Scene, child: Child, settings: Settings) -> None:
    ended = child.ended()
    assert ended is not None, "the work goes on without end"
    _is_sentence(ended)
    trial.count("went on" if ended.how == "done" else "stopped with a sentence")
    kept = scene.kept(settings.database)
    Child(activities.score, settings, scene.images, said=scene.said).result()
    assert kept.items() <= scene.kept(settings.database).items(), "a row was lost or changed"
    scene.all_scored(settings.database)


def _is_sentence(ended: Ended) -> None:
    assert ended.how in ("done", "refused"), f"the work {ended.how}: {ended.what}"
    assert ended.how == "done" or str(ended.what).startswith("expected "), f"no sentence: {ended.what}"
