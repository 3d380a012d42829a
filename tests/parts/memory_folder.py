"""Where tests write: thousands of files that reach the disk one by one, which is most of the time of many a test.

In memory they need not. The calls are the same, and a process that is killed leaves the same files; what only a power
cut would lose, no test of ours can see.
"""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")
_ROOM = 6 * 1024**3  # bytes: what all tests leave is far less, and a container's 64 MB would not do


def has_room_in_memory() -> bool:
    """Whether there is a folder in memory that tests can write to and run programs from, and that may grow so far."""
    if not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(MEMORY)
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > _ROOM
