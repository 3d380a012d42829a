"""Whether this machine has a GPU."""

from __future__ import annotations

import pytest

from deploy.engine.devices import resolve_device
from pipeline.settings import Device


def cuda_works() -> bool:
    """Whether this machine has a GPU that onnxruntime can use."""
    return resolve_device(Device.AUTO).device is Device.CUDA


without_gpu = pytest.mark.skipif(cuda_works(), reason="this machine has a GPU")
