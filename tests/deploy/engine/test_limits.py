"""CPUs and memory as affinity and control groups leave them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.engine.limits import available_cpus, available_memory, cpu_quota, memory_limit
from tests.checkout import REPOSITORY

ASK = "from deploy.engine.limits import available_cpus as a; print(a())"


def told(code: str) -> str:
    """What another process says."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_this_machine() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
    assert 2**27 < available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_cpus_follow_the_affinity_mask() -> None:
    one = sorted(os.sched_getaffinity(0))[0]
    assert told(f"import os; os.sched_setaffinity(0, {{{one}}}); {ASK}") == "1"


@pytest.mark.parametrize(
    ("groups", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000"}, math.inf),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"system.slice/linewise.service/cpu.max": "200000 100000"}, 2.0),
        ({"system.slice/linewise.service/cpu.max": "max 100000", "system.slice/cpu.max": "300000 100000"}, 3.0),
        ({"other.slice/cpu.max": "100000 100000"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ({"cpu/line/cpu.cfs_quota_us": "50000", "cpu/line/cpu.cfs_period_us": "100000"}, 0.5),
    ],
)
def test_the_quota_of_the_own_group_and_of_those_above(tmp_path: Path, groups: dict[str, str], quota: float) -> None:
    own = tmp_path / "own"
    write(own, "7:memory:/\n1:cpu,cpuacct:/line\n0::/system.slice/linewise.service")
    for name, text in groups.items():
        write(tmp_path / "groups" / name, text)
    assert cpu_quota(tmp_path / "groups", own) == quota
    assert memory_limit(tmp_path / "groups", own) == math.inf


def test_the_tightest_memory_limit_holds(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "groups"
    assert memory_limit(root, own) == math.inf, "not even /proc says anything"
    write(own, "4:memory:/a/b\n0::/s/t")
    write(root / "memory/memory.limit_in_bytes", "9223372036854771712")
    write(root / "memory/a/memory.limit_in_bytes", "3000000")
    assert memory_limit(root, own) == 3_000_000
    write(root / "s/t/memory.max", "2000000")
    write(root / "s/memory.max", "max")
    assert memory_limit(root, own) == 2_000_000


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A real control group of half a CPU."""
    name = f"linewise-test-{uuid.uuid4().hex[:8]}"
    version_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = Path("/sys/fs/cgroup", *(() if version_2 else ("cpu",)), name)
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here ({error.strerror})")
    try:
        if version_2:
            (group / "cpu.max").write_text("50000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        group.rmdir()
        pytest.skip(f"control groups cannot be limited here ({error.strerror})")
    yield group
    group.rmdir()


def test_a_real_group_limits_a_process_in_it(limited_group: Path) -> None:
    if available_cpus() < 2:
        pytest.skip("needs two CPUs to take one away")
    join = f"import pathlib, os; pathlib.Path({str(limited_group / 'cgroup.procs')!r}).write_text(str(os.getpid()))"
    assert told(f"{join}; {ASK}") == "1"
