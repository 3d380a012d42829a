"""A PostgreSQL server for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """URL of an empty PostgreSQL database: LINEWISE_TEST_POSTGRES, or a server of our own."""
    if url := os.environ.get("LINEWISE_TEST_POSTGRES"):
        yield url
        return
    if (lacking := nothing_to_run()) is not None:
        pytest.skip(f"{lacking} or set LINEWISE_TEST_POSTGRES to the URL of an empty database")
    with PostgresServer(folder) as server:
        yield server.url


def nothing_to_run() -> str | None:
    """Why there can be no server of our own here, with what to do; None: there can."""
    if not _programs():
        return "no PostgreSQL: install it"
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user postgres: make one"
    return None


def _programs() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class PostgresServer:
    """A server with an empty database, which can be away for a while. A context manager.

    Args:
        folder: for its data, unless it runs as root: then it has one that the user postgres may enter.
    """

    def __init__(self, folder: Path) -> None:
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._as_user = ["runuser", "-u", "postgres", "--"]
            # pytest's own folders are closed to other users
            folder = Path(tempfile.mkdtemp(prefix="linewise-postgres-", dir="/tmp"))
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._folder, self._data = folder, folder / "data"
        self._pg_ctl = _programs()[-1].with_name("pg_ctl")
        self.url = f"postgresql://line@/postgres?host={folder}"

    def __enter__(self) -> Self:
        try:
            self._run(_programs()[-1], "-D", self._data, "-U", "line", "-A", "trust", "-E", "UTF8", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, again."""
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._run(self._pg_ctl, "-D", self._data, "-w", "-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it in the middle of whatever it does."""
        self._run(self._pg_ctl, "-D", self._data, "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """Kill the server and all of its processes with -9, and wait until the system has forgotten them: a new one
        takes a zombie for a server that runs.
        """
        server = int((self._data / "postmaster.pid").read_text().split()[0])
        family = [server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())]
        for process in family:  # the server first: it would make new ones
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in family):
            time.sleep(0.05)

    def _run(self, *command: object) -> None:
        subprocess.run([*self._as_user, *map(str, command)], check=True, capture_output=True, cwd="/", timeout=120)
