"""Which process a pid names. The system gives pids anew, so a process is its pid and the moment it began (POSIX)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_ENDED = "ZX"  # states of a process that nobody has asked for its exit code yet


@dataclass(frozen=True)
class Process:
    """One process.

    Args:
        pid: its number.
        began: when it began, in the system's own words: only to compare.
    """

    pid: int
    began: str

    def runs(self) -> bool:
        """Whether it still runs: not ended, and its pid not another's."""
        return find_process(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False: it has ended. A program that got the pid meanwhile never gets the signal."""
        if not hasattr(os, "pidfd_open"):  # macOS
            if found := self.runs():
                os.kill(self.pid, number)
            return found
        try:
            handle = os.pidfd_open(self.pid)  # means this process, whoever gets its number later
        except ProcessLookupError:
            return False
        try:
            if found := self.runs():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return found

    def descendants(self) -> set[Process]:
        """The processes it started that run, and those that they started."""
        children: dict[int, list[Process]] = {}
        for parent, process in _running():
            children.setdefault(parent, []).append(process)
        found: set[Process] = set()
        open_ends = [self.pid]
        while open_ends:
            born = set(children.get(open_ends.pop(), ())) - found
            found |= born
            open_ends += [process.pid for process in born]
        return found


def find_process(pid: int) -> Process | None:
    """The process that has this pid now, None where none runs."""
    return next((process for _, process in _running(pid)), None)


def marked_processes(variable: str, value: str) -> set[Process]:
    """Those of this user that were started with this environment variable, or by one that was. Linux tells; others
    have none.
    """
    entry = os.fsencode(f"{variable}={value}")
    found: set[Process] = set()
    for _, process in _running() if _BOOT.is_file() else ():
        try:
            environment = (_PROC / str(process.pid) / "environ").read_bytes()
        except OSError:  # another user's, or ended
            continue
        if entry in environment.split(b"\0"):
            found.add(process)
    return found


def _running(pid: int | None = None) -> Iterator[tuple[int, Process]]:
    """Parent's pid and process, of all that run or of one."""
    if not _BOOT.is_file():
        yield from _of_ps(pid)
        return
    boot = _BOOT.read_text().strip()
    for number in [pid] if pid is not None else [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]:
        try:
            stat = (_PROC / str(number) / "stat").read_text(errors="replace")
        except OSError:  # ended
            continue
        fields = stat.rpartition(")")[2].split()  # from the third of proc(5) on: the second may hold blanks
        if fields[0] not in _ENDED:
            yield int(fields[1]), Process(number, f"{boot} {fields[19]}")


def _of_ps(pid: int | None) -> Iterator[tuple[int, Process]]:
    which = ["-A"] if pid is None else ["-p", str(pid)]
    command = ["ps", *which, "-o", "pid=,ppid=,stat=,lstart="]
    listed = subprocess.run(command, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    for line in listed.stdout.splitlines():
        number, parent, state, began = line.split(maxsplit=3)
        if state[0] not in _ENDED:
            yield int(parent), Process(int(number), began.strip())
