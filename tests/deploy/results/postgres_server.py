"""A PostgreSQL server for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """URL of an empty PostgreSQL database: LINEWISE_TEST_POSTGRES, or a server of our own."""
    if url := os.environ.get("LINEWISE_TEST_POSTGRES"):
        yield url
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL: install it or set LINEWISE_TEST_POSTGRES to the URL of an empty database")
    as_user: list[str] = []
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
        folder = Path("/tmp") / f"linewise-postgres-{os.getpid()}"  # pytest's own folders are closed to other users
        folder.mkdir()
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(*command: object) -> None:
        subprocess.run([*as_user, *map(str, command)], check=True, capture_output=True, cwd="/", timeout=120)

    initdb, pg_ctl, data = programs[-1], programs[-1].with_name("pg_ctl"), folder / "data"
    try:
        run(initdb, "-D", data, "-U", "line", "-A", "trust", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run(pg_ctl, "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://line@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
