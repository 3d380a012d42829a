"""CPUs and memory that this process may use: the machine's, cut by its affinity mask and control groups. Torch-free.

A container sees its limits at the top of `/sys/fs/cgroup`; a systemd service (`CPUQuota=`, `MemoryMax=`) has its own in
a group below, named in `/proc/self/cgroup`. Every group above it limits, too.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """CPUs this process may use, at least 1; a quota's last part of a CPU counts as one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, math.ceil(min(affinity, cpu_quota())))


def available_memory() -> int:
    """Bytes of memory this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(physical, memory_limit()))


def cpu_quota(root: Path = _ROOT, own: Path = _OWN) -> float:
    """CPUs that the control groups allow; infinite without a limit."""
    quota = math.inf
    for folder in _groups("cpu", root, own):
        with contextlib.suppress(OSError, ValueError):  # version 2 writes "max" where there is no limit
            limit, period = (folder / "cpu.max").read_text().split()
            quota = min(quota, int(limit) / int(period))
        with contextlib.suppress(OSError, ValueError):
            microseconds = int((folder / "cpu.cfs_quota_us").read_text())
            period_us = int((folder / "cpu.cfs_period_us").read_text())
            quota = min(quota, microseconds / period_us if microseconds > 0 else math.inf)
    return quota


def memory_limit(root: Path = _ROOT, own: Path = _OWN) -> float:
    """Bytes that the control groups allow; infinite without a limit."""
    limit = math.inf
    for folder in _groups("memory", root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                limit = min(limit, int((folder / name).read_text()))
    return limit


def _groups(controller: str, root: Path, own: Path) -> Iterator[Path]:
    """The process's group of a controller in versions 2 and 1, and all above it: cgroups(7), /proc/[pid]/cgroup."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    paths = {root: "", root / controller: ""}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths[root] = path
        elif controller in controllers.split(","):
            paths[root / controller] = path
    for top, path in paths.items():
        group = top / path.lstrip("/")
        yield from [folder for folder in (group, *group.parents) if folder.is_relative_to(top)]
