"""A process is its pid and when it began: what has the pid now may be another program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.plant import process_identity
from flows.plant.process_identity import Process, find_process, marked_processes

SLEEPER = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).wait()"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", SLEEPER])
    yield child
    child.kill()
    child.wait()


def identity(pid: int) -> Process:
    found = find_process(pid)
    assert found is not None
    return found


@pytest.fixture(params=["proc", "ps"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Linux, and a system without /proc and pidfd_open."""
    if request.param == "ps":
        monkeypatch.setattr(process_identity, "_BOOT", Path("/nowhere"))
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    return request.param


def test_a_process_runs_until_it_has_ended_even_if_nobody_asked_for_its_exit_code(system, sleeper):
    process = identity(sleeper.pid)
    assert process.runs()
    sleeper.kill()
    deadline = time.monotonic() + 30
    while process.runs():  # as a zombie, which `sleeper` did not wait for
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not process.send(signal.SIGTERM)


def test_a_pid_that_another_program_got_is_neither_ours_nor_sent_a_signal(system, sleeper):
    earlier = replace(identity(sleeper.pid), began="before that")
    assert not earlier.runs()
    assert not earlier.send(signal.SIGKILL)
    time.sleep(0.3)
    assert sleeper.poll() is None


def test_a_signal_reaches_the_process(system, sleeper):
    assert identity(sleeper.pid).send(signal.SIGTERM)
    assert sleeper.wait(timeout=30) == -signal.SIGTERM


def test_what_a_process_began_is_found(system):
    child = subprocess.Popen([sys.executable, "-c", PARENT])
    try:
        head = identity(child.pid)
        deadline = time.monotonic() + 30
        while not (found := head.descendants()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (grandchild,) = found
        assert grandchild in identity(os.getpid()).descendants()
        assert grandchild.send(signal.SIGTERM)
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="reads environments in /proc")
def test_a_marked_process_is_found_after_its_parent_died():
    child = subprocess.Popen([sys.executable, "-c", PARENT], env=os.environ | {"MARK_OF_A_TEST": "a"})
    try:
        deadline = time.monotonic() + 30
        while not identity(child.pid).descendants():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    assert marked_processes("MARK_OF_A_TEST", "b") == set()
    (orphan,) = marked_processes("MARK_OF_A_TEST", "a")
    assert orphan.send(signal.SIGKILL)


def test_no_process_is_found_where_none_runs():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert find_process(child.pid) is None
