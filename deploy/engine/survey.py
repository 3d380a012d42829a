"""What this machine has for each device, found without running a graph. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import packages_distributions

import onnxruntime as ort

from deploy.engine.devices import is_compiled_in
from deploy.engine.nvidia import DRIVER_LIBRARY, TENSORRT_LIBRARY, loads, preload_cuda
from pipeline.settings import Device


@dataclass(frozen=True, kw_only=True)
class OrtBuild:
    """The installed onnxruntime.

    Args:
        version: of the library.
        build: its own build line.
        providers: what it was built with; none of them need work here.
        distributions: the installed packages that hold it; two of them overwrite each other's files.
    """

    version: str
    build: str
    providers: tuple[str, ...]
    distributions: tuple[str, ...]


def ort_build() -> OrtBuild:
    """What the installed onnxruntime says of itself."""
    return OrtBuild(
        version=ort.get_version_string(),
        build=ort.get_build_info().removeprefix("ORT Build Info: "),
        providers=tuple(ort.get_available_providers()),
        distributions=tuple(sorted(set(packages_distributions().get("onnxruntime", [])))),
    )


@dataclass(frozen=True, kw_only=True)
class DeviceSurvey:
    """What a device needs, and whether it is there.

    Args:
        device: cpu, cuda or tensorrt.
        compiled_in: onnxruntime was built with its provider.
        driver: NVIDIA's driver library can be loaded; None where the device needs none.
        missing_libraries: file names of the shared libraries that cannot be loaded, the driver's first.
    """

    device: Device
    compiled_in: bool
    driver: bool | None
    missing_libraries: tuple[str, ...]


def survey_device(device: Device) -> DeviceSurvey:
    """Look for everything the device needs, and go on after the first missing piece."""
    compiled_in = is_compiled_in(device)
    if device is Device.CPU:
        return DeviceSurvey(device=device, compiled_in=compiled_in, driver=None, missing_libraries=())
    driver = loads(DRIVER_LIBRARY)
    missing = [] if driver else [DRIVER_LIBRARY]
    missing += preload_cuda()
    if device is Device.TENSORRT and not loads(TENSORRT_LIBRARY):
        missing.append(TENSORRT_LIBRARY)
    return DeviceSurvey(device=device, compiled_in=compiled_in, driver=driver, missing_libraries=tuple(missing))
