"""Folders that may not be listed, entered or written, not even by root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 0x20080522  # of the kernel's structures: three sets (effective, permitted, inheritable) of twice 32 bits
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root may read and write everything

_Sets = ctypes.c_uint32 * 6
_LIBC = ctypes.CDLL(None)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Meanwhile this thread, and those that it starts, may not list or enter the folder."""
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        with _without_overrides():
            yield
    finally:
        folder.chmod(mode)


@contextmanager
def _without_overrides() -> Iterator[None]:
    """A test that runs as root (containers often do) gives up what sets root apart, and takes it back."""
    if os.geteuid() != 0:
        yield
        return
    before = give_up_overrides()
    try:
        yield
    finally:
        assert _LIBC.capset(_header(), before) == 0


def give_up_overrides() -> _Sets:
    """From here on rights hold for this thread, and those that it starts, even if root runs it; the sets of before."""
    before = _Sets()
    assert _LIBC.capget(_header(), before) == 0
    without = _Sets(*before)
    without[0] &= ~_OVERRIDES
    assert _LIBC.capset(_header(), without) == 0
    return before


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_VERSION, 0)
