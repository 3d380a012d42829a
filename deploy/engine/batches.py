"""Batches of one shape on a device whose memory has an end. Torch-free; nothing here needs a GPU."""

from __future__ import annotations

import re
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)
_OUT_OF_MEMORY = re.compile(
    r"failed to allocate memory|out of memory|is smaller than requested bytes|bad_alloc"
    r"|cudaErrorMemoryAllocation|CUDA failure 2\b|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether onnxruntime, CUDA, cuBLAS or cuDNN says in this error that memory ran out. They have no type for it."""
    return _OUT_OF_MEMORY.search(str(error)) is not None


def padded(images: NDArray[_T], size: int) -> NDArray[_T]:
    """The images (B, ...) with black ones behind them, `size` in all: for another shape an accelerator prepares itself
    anew. Of what is said of images, zeros.
    """
    missing = size - len(images)
    if missing <= 0:
        return images
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])


def row_window(start: int, count: int, total: int) -> tuple[int, int]:
    """First row and number of rows that cover rows [start, start + count) of `total`: a power of two, or all.

    A head sees as many rows as its line has in the batch. Rounded up, those are a handful of shapes instead of `total`.
    """
    size = min(1 << (count - 1).bit_length(), total)
    return min(start, total - size), size


def bind_rows(binding: ort.IOBinding, name: str, value: ort.OrtValue, first: int, size: int) -> None:
    """Bind rows [first, first + size) of a float32 tensor as an input where they lie; `value` must outlive the run."""
    shape = value.shape()
    if size == shape[0]:
        binding.bind_ortvalue_input(name, value)
        return
    offset = first * int(np.prod(shape[1:])) * np.dtype(np.float32).itemsize
    binding.bind_input(name, value.device_name(), 0, np.float32, [size, *shape[1:]], value.data_ptr() + offset)
