"""Housekeeping as a job: what is old goes, kind by kind; or it is only told."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib import import_module
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.bundles.retired_versions import remove_retired, retired_versions
from deploy.results.old_pictures import old_pictures, written_before
from deploy.results.retention import (
    bundles_in_use,
    bytes_of_rows,
    count_old_rows,
    drop_old_rows,
    forget_old_pictures,
)
from deploy.results.store import ResultStore
from flows.housekeeping.request import HousekeepingRequest
from flows.plant.chosen_server import answers, environment_of, server_in_use
from flows.plant.started_parts import PlantFolder
from flows.progress import OnProgress, Progress, ignore_progress
from flows.score.outputs import RUN_FOLDER
from pipeline.errors import BundleError
from pipeline.settings import Settings
from pipeline.storage import storage_errors

DropRuns = Callable[[datetime, bool], int]
"""Takes the time before which runs ended, and whether they are only counted; see `flows.server.old_runs`."""


class Kind(StrEnum):
    """What goes."""

    ROWS = "rows"
    PICTURES = "pictures"
    BUNDLES = "bundles"
    REPORTS = "reports"
    LOGS = "logs"
    RUNS = "Prefect runs"


@dataclass(frozen=True, kw_only=True)
class Removed:
    """How many of a kind went, or would go, and how many bytes they took: about, for rows; 0 where nobody can tell."""

    kind: Kind
    count: int
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class HousekeepingResult:
    """What went, or, in a dry run, would go. `remarks` are sentences on what was left alone, and why."""

    removed: tuple[Removed, ...]
    remarks: tuple[str, ...]
    seconds: float


def run(
    request: HousekeepingRequest,
    settings: Settings,
    on_progress: OnProgress = ignore_progress,
    drop_runs: DropRuns | None = None,
) -> HousekeepingResult:
    """Remove what is older, or more, than the request keeps.

    Whoever is killed on the way has removed whole things only, and what is left goes the next time.

    Args:
        request: what is kept, and whether this is a dry run.
        settings: of the home and its result store.
        on_progress: told which kind is at work.
        drop_runs: of a server that is at hand; None: of the one that the plant uses, if it answers.

    Raises:
        StorageError: something cannot be read or removed; what went until then is gone.
        ConfigError: the Prefect server refuses, or its address is none.
    """
    start, now = time.perf_counter(), datetime.now(UTC)
    remarks: list[str] = []
    rows_from, pictures_from = (now - timedelta(days=days) for days in (request.rows_days, request.pictures_days))
    reports_from, runs_from = (now - timedelta(days=days) for days in (request.reports_days, request.runs_days))
    kinds = len(Kind)
    removed: list[Removed] = []

    def note(kind: Kind, count: int, size_bytes: int = 0) -> None:
        removed.append(Removed(kind=kind, count=count, size_bytes=size_bytes))
        on_progress(Progress(stage="housekeeping", done=len(removed), total=kinds))

    with ResultStore(settings.database) as store:
        note(Kind.ROWS, *_rows(store, rows_from, request.dry_run))
        if not request.dry_run:
            forget_old_pictures(store, pictures_from)
        pictures = old_pictures(store, settings.below_home("overlays"), max(rows_from, pictures_from))
        note(Kind.PICTURES, *_remove(pictures, max(rows_from, pictures_from), request.dry_run))
        note(Kind.BUNDLES, *_bundles(Registry(settings.home), store, request, remarks))
    note(Kind.REPORTS, *_remove(_old_reports(settings, reports_from), None, request.dry_run))
    note(Kind.LOGS, *_remove(_old_logs(settings, reports_from), reports_from, request.dry_run))
    drop = drop_runs or _of_the_plants_server(settings)
    if drop is None:
        remarks.append("Prefect runs are left alone: no Prefect server is named, or it does not answer.")
    note(Kind.RUNS, 0 if drop is None else drop(runs_from, request.dry_run))
    return HousekeepingResult(removed=tuple(removed), remarks=tuple(remarks), seconds=time.perf_counter() - start)


def _rows(store: ResultStore, before: datetime, dry_run: bool) -> tuple[int, int]:
    count = count_old_rows(store, before)
    size = bytes_of_rows(store, count)
    return (count if dry_run else drop_old_rows(store, before)), size


def _bundles(
    registry: Registry, store: ResultStore, request: HousekeepingRequest, remarks: list[str]
) -> tuple[int, int]:
    count, size = 0, 0
    for line in registry.lines():
        try:
            retired = retired_versions(registry, line, request.bundles, bundles_in_use(store, line))
            sizes = {record.version: _size(record.path) for record in retired}
            if not request.dry_run and retired:
                retired = remove_retired(registry, line, request.bundles, lambda: bundles_in_use(store, line))  # noqa: B023 - called at once
        except BundleError as error:
            remarks.append(f"Versions of {line} are left alone: {error}.")
            continue
        count += len(retired)
        size += sum(sizes.get(record.version, 0) for record in retired)
    return count, size


def _old_reports(settings: Settings, before: datetime) -> Iterator[tuple[Path, int]]:
    """Folders that scoring made for its reports before a time."""
    folders = [settings.below_home("plant-reports"), *_folders_in(settings.below_home("reports"))]
    for made in (made for folder in folders for made in _folders_in(folder)):
        if RUN_FOLDER.fullmatch(made.name) and made.name < f"{before:%Y%m%d-%H%M%S-%f}":
            yield made, _size(made)


def _old_logs(settings: Settings, before: datetime) -> Iterator[tuple[Path, int]]:
    """What server and worker said before they were last started; what they say now is theirs."""
    for path in sorted(PlantFolder(settings.home).path.glob("*.log.before")):
        if written_before(path, before):
            yield path, path.stat().st_size


def _remove(found: Iterator[tuple[Path, int]], before: datetime | None, dry_run: bool) -> tuple[int, int]:
    """Remove files and folders; a file only if nobody has written it anew since it was found."""
    count, size = 0, 0
    for path, taken in found:
        with storage_errors(path):
            if dry_run:
                pass
            elif path.is_dir():
                shutil.rmtree(path)
            elif before is None or written_before(path, before):
                path.unlink(missing_ok=True)
            else:
                continue
        count, size = count + 1, size + taken
    return count, size


def _folders_in(folder: Path) -> list[Path]:
    with storage_errors(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _of_the_plants_server(settings: Settings) -> DropRuns | None:
    """What drops runs of the server that this plant uses; None: there is none that answers."""
    folder = PlantFolder(settings.home)
    server = server_in_use(folder)
    if server is None or not answers(server.api):
        return None
    os.environ.update(environment_of(server, folder))

    def drop(before: datetime, dry_run: bool) -> int:
        with import_module("flows.bootstrap").server_client("delete old runs"):  # for its sentence where it refuses
            return import_module("flows.server.old_runs").drop_old_runs(before, dry_run)

    return drop
