"""What `linewise up` started, kept in one folder: `<home>/plant/`.

server.json, worker.json, pages.json    process, address and log of each, from its start until `linewise down`
server.log, worker.log, pages.log       what they say; .log.before is of the start before
prefect/                                PREFECT_HOME of the server: its SQLite database, leases, stored results
.lock                                   held by an `up` or `down` at work
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from flows.plant.process_identity import Process
from pipeline.errors import StorageError
from pipeline.storage import file_lock, replace_file, storage_errors

_LOCK_SECONDS = 2.0


class Part(StrEnum):
    """What a plant consists of, as people call it."""

    SERVER = "server"
    WORKER = "worker"
    PAGES = "review page"

    @property
    def key(self) -> str:
        """As files and JSON call it."""
        return self.name.lower()


class Started(BaseModel):
    """A background process of the plant.

    Args:
        pid: its number.
        began: see `Process`.
        since: when it was started.
        api: the server's address; the pages' is their own.
        name: the worker's, as the server calls it; the server has none.
        log: what it says.
        linewise: version that started it.
        paused_pool: `down` told the worker's pool to let no more runs be taken.
    """

    model_config = ConfigDict(frozen=True)  # a later version may note more

    pid: int
    began: str
    since: AwareDatetime
    api: str
    name: str | None = None
    log: Path
    linewise: str
    paused_pool: bool = False

    @property
    def process(self) -> Process:
        """The process itself."""
        return Process(self.pid, self.began)


class PlantFolder:
    """The folder below one home. Nothing is made before something is written.

    Args:
        home: the home folder.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "plant"
        self.prefect_home = self.path / "prefect"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other `up` and `down` out.

        Raises:
            StorageError: one of them is at work, or the folder cannot be written.
        """
        with storage_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(self.path / ".lock", timeout_seconds=_LOCK_SECONDS):
            yield

    def log(self, part: Part) -> Path:
        """The log of a part."""
        return self.path / f"{part.key}.log"

    def started(self, part: Part) -> Started | None:
        """The part as it was started last; it may have died. None: it was not, or was stopped.

        Raises:
            StorageError: the record cannot be read, or is none.
        """
        record = self._record(part)
        with storage_errors(record):
            if not record.exists():
                return None
            encoded = record.read_bytes()
        try:
            return Started.model_validate_json(encoded)
        except ValidationError as error:
            remedy = f"end the {part} yourself if it runs, then remove the file"
            raise StorageError(f"what `linewise up` writes in {record}", "something else", remedy) from error

    def running(self, part: Part) -> Started | None:
        """The part where it runs.

        Raises:
            StorageError: see `started`.
        """
        started = self.started(part)
        return started if started is not None and started.process.runs() else None

    def note(self, part: Part, started: Started) -> None:
        """Note a part's process.

        Raises:
            StorageError: the folder cannot be written.
        """
        replace_file(self._record(part), f"{started.model_dump_json(indent=2)}\n".encode())

    def forget(self, part: Part) -> None:
        """Note that nothing is to run any more."""
        with storage_errors(self.path):
            self._record(part).unlink(missing_ok=True)

    def _record(self, part: Part) -> Path:
        return self.path / f"{part.key}.json"
