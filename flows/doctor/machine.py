"""What this machine is: versions, CPUs and memory as a container gives them. Torch-free; nothing is imported to ask."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from deploy.bundles.manifest import linewise_version
from deploy.engine.limits import available_cpus, available_memory

_DISTRIBUTIONS = (
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "opencv-python-headless",
    "simplejpeg",
    "tifffile",
    "SQLAlchemy",
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "timm",
    "prefect",
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as Linewise sees it.

    Args:
        platform: operating system and processor.
        python: its version.
        cpus: CPUs this process may use.
        memory_bytes: memory this process may use.
        packages: versions by distribution; None: not installed.
    """

    platform: str
    python: str
    cpus: int
    memory_bytes: int
    packages: dict[str, str | None]


def describe_machine() -> Machine:
    """This machine."""
    return Machine(
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpus=available_cpus(),
        memory_bytes=available_memory(),
        packages={"linewise": linewise_version(), **{name: _version(name) for name in _DISTRIBUTIONS}},
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
