"""NVIDIA's driver, libraries and GPUs on this machine, found without opening anything on a GPU. Torch-free."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re

import onnxruntime as ort

DRIVER_LIBRARY = "libcuda.so.1"
TENSORRT_LIBRARY = "libnvinfer.so.10"


def loads(library: str) -> bool:
    """Whether the dynamic linker finds and opens a shared library; it stays loaded."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def preload_cuda() -> list[str]:
    """Load CUDA's libraries, also from the wheels that torch brings; names of those that cannot be, in order."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what it cannot find
        ort.preload_dlls()
    failed = re.findall(r"^Failed to load (.+?): ", said.getvalue(), re.MULTILINE)
    return [name for name in failed if "/" not in name]  # a path is its first try, the name alone its last


def visible_gpus() -> int:
    """How many GPUs the driver shows this process, as CUDA_VISIBLE_DEVICES leaves them. Takes none of their memory."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return 0
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
