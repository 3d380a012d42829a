"""Execution providers: what was asked for is what runs, or a sentence says why not. Torch-free.

onnxruntime falls back to the CPU without an error: it lists CUDA on machines without a GPU, and a session asked to run
on CUDA quietly runs on the CPU (onnxruntime issues 17801, 23372, 23647). So every accelerated session here is opened
without the CPU provider, with `session.disable_cpu_ep_fallback`, and is asked afterwards what it runs on.
"""

from __future__ import annotations

import logging
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from deploy.engine.nvidia import DRIVER_LIBRARY, TENSORRT_LIBRARY, loads, preload_cuda, visible_gpus
from pipeline.errors import BundleError, ConfigError, DeviceError
from pipeline.settings import Device, Settings

log = logging.getLogger(__name__)

# Everything onnxruntime would print at a lower severity also comes as an exception, which we turn into one sentence.
ort.set_default_logger_severity(4)

# One arena for the activations of all sessions on the CPU. With one each, a head that was used once kept 11 MB more,
# and 200 lines would hold gigabytes that one run at a time needs.
ort.create_and_register_allocator(
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT), None
)

# A one-node ONNX model (y = Relu(x), x float32 [1], opset 17), written out so that no onnx package is needed here.
_PROBE = (
    b'\x08\x08\x12\x00:7\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x05probeZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
_PROVIDER = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}

ACCELERATOR_BATCH = 32
"""Images that scoring hands an accelerator at once."""


@dataclass(frozen=True)
class ResolvedDevice:
    """A device that was seen to work.

    Args:
        device: cpu, cuda or tensorrt; never auto.
        note: one line for the log: what was taken and why.
        cache_folder: where TensorRT keeps its engines; None builds them anew in every process.
        memory_mb: most GPU memory of a session's arena; None: what there is. Outside it lie what CUDA and TensorRT
            themselves take.
    """

    device: Device
    note: str
    cache_folder: Path | None = None
    memory_mb: int | None = None

    @property
    def memory(self) -> str:
        """The name of the memory that outputs stay in, as onnxruntime's IO binding calls it."""
        return "cpu" if self.device is Device.CPU else "cuda"

    @property
    def batch_size(self) -> int:
        """Images that are best scored at once: on the CPU a batch is slower than its images."""
        return 1 if self.device is Device.CPU else ACCELERATOR_BATCH

    def providers(self) -> list[tuple[str, dict[str, Any]]]:
        """Execution providers with options, never with the CPU behind an accelerator."""
        arena: dict[str, Any] = {"arena_extend_strategy": "kSameAsRequested"}
        if self.memory_mb is not None:
            arena["gpu_mem_limit"] = self.memory_mb * 2**20
        cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", **arena})
        if self.device is Device.CUDA:
            return [cuda]
        if self.device is Device.TENSORRT:
            options: dict[str, Any] = {}
            if self.cache_folder is not None:
                folder = str(self.cache_folder)
                options = {"trt_engine_cache_enable": True, "trt_engine_cache_path": folder}
                options |= {"trt_timing_cache_enable": True, "trt_timing_cache_path": folder}
            return [("TensorrtExecutionProvider", options), cuda]
        return [("CPUExecutionProvider", {})]


def resolve_device(
    device: Device | str = Device.AUTO, *, cache_folder: Path | None = None, memory_mb: int | None = None
) -> ResolvedDevice:
    """Find out by running a graph whether `device` works.

    Args:
        device: what is wanted.
        cache_folder: where TensorRT may keep its engines.
        memory_mb: most GPU memory of a session's arena.

    Raises:
        ConfigError: not the name of a device.
        DeviceError: the device was asked for by name and does not work here.
    """
    try:
        wanted = Device(device)
    except ValueError as error:
        names = ", ".join(Device)
        raise ConfigError(expected=f"a device of {names}", got=repr(device), remedy="choose one of them") from error
    if wanted is Device.CPU:
        return ResolvedDevice(Device.CPU, "running on the CPU, as asked")
    target = Device.CUDA if wanted is Device.AUTO else wanted
    resolved = ResolvedDevice(target, f"running on {target}", cache_folder, memory_mb)
    try:
        _require_gpu(target)
        run_probe(resolved)
    except DeviceError as error:
        if wanted is not Device.AUTO:
            raise
        resolved = ResolvedDevice(Device.CPU, f"running on the CPU: CUDA does not work here ({error.got})")
    log.info("%s", resolved.note)
    return resolved


def open_device(asked: Device | None, settings: Settings) -> ResolvedDevice:
    """The device that a run scores on, seen to work, with what the settings leave it; see `resolve_device`.

    Args:
        asked: what the run's request says; None, auto: the settings' device.
        settings: of the process that scores.

    Raises:
        DeviceError: a device was named and does not work here.
    """
    device = settings.device_for(asked)
    return resolve_device(device, cache_folder=settings.home / "engines", memory_mb=settings.gpu_memory_mb)


def expected_device(asked: Device | None, settings: Settings) -> Device:
    """cpu, cuda or tensorrt: what `open_device` will most likely find, told without taking any of a GPU's memory.

    For a run that must wait for its turn on the GPU: opening a session, as `open_device` does, makes a context of some
    hundred megabytes that the process keeps while it waits, and fails on a GPU that the run before it has filled. So
    only build, libraries, driver and its count of GPUs are looked at here. Where all are there and CUDA does not work
    all the same, `auto` is told to be cuda: the run waits for nothing, and then takes the CPU.

    Raises:
        DeviceError: a device was named and something that it needs is not there.
    """
    wanted = settings.device_for(asked)
    if wanted is Device.CPU:
        return wanted
    target = Device.CUDA if wanted is Device.AUTO else wanted
    try:
        _require_gpu(target)
    except DeviceError:
        if wanted is not Device.AUTO:
            raise
        return Device.CPU
    return target


def open_session(model: bytes, resolved: ResolvedDevice, *, threads: int) -> ort.InferenceSession:
    """Open a session that runs on the resolved device and nowhere else.

    Args:
        model: the serialised ONNX model; bytes, so that what was hashed is what is loaded.
        resolved: from `resolve_device`.
        threads: of one operator on the CPU; one a worker scales best.

    Raises:
        DeviceError: the graph, or a part of it, cannot run on that accelerator.
        BundleError: the bytes are not a graph that the CPU can run.
    """
    options = ort.SessionOptions()
    # ALL, not EXTENDED: only it lays tensors out as NCHWc, which is 2.6 times as fast on the CPU. Such a graph is
    # made for the processor it is optimised on, so optimised models are never written to disk.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning steals the workers' cores
    options.add_session_config_entry("session.use_env_allocators", "1")
    if saturates():  # there an int8 graph would score otherwise than where it passed its gate
        options.add_session_config_entry("session.x64quantprecision", "1")
    accelerated = resolved.device is not Device.CPU
    if accelerated:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(model, options, providers=resolved.providers(), enable_fallback=0)
    except Exception as error:
        if not accelerated:
            raise BundleError(
                expected="a graph that onnxruntime can load", got=_first_line(error), remedy="export it again"
            ) from error
        raise _does_not_work(resolved.device, _first_line(error)) from error
    if session.get_providers()[0] != _PROVIDER[resolved.device]:
        raise _does_not_work(resolved.device, f"a session on {session.get_providers()[0]}")
    # The Python wrapper keeps the model's bytes for a fallback that is never wanted here: 200 lines would hold their
    # heads twice.
    session._model_bytes = None
    return session


@cache
def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this x64 processor lacks VNNI, so that sums of U8S8 products saturate unless onnxruntime avoids it.

    Where VNNI is there, avoiding it gives the same scores and makes an int8 backbone half as fast.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in cpuinfo.read_text()
    except OSError:
        return True


def is_compiled_in(device: Device) -> bool:
    """Whether the installed onnxruntime has the device's provider; says nothing about the machine."""
    return _PROVIDER[device] in ort.get_available_providers()


def _require_gpu(device: Device) -> None:
    """Name the missing piece before onnxruntime hides it behind a general failure."""
    if not is_compiled_in(device):
        raise _does_not_work(
            device, "an onnxruntime built without it", "install onnxruntime-gpu in place of onnxruntime"
        )
    if not loads(DRIVER_LIBRARY):
        remedy = "run on a machine with an NVIDIA GPU and its driver, or use cpu"
        raise _does_not_work(device, f"no NVIDIA driver ({DRIVER_LIBRARY})", remedy)
    missing = preload_cuda()
    if device is Device.TENSORRT and not loads(TENSORRT_LIBRARY):
        raise _does_not_work(device, f"no TensorRT 10 ({TENSORRT_LIBRARY})", "install TensorRT 10, or use cuda")
    if visible_gpus() == 0:
        raise _does_not_work(device, "no GPU that the driver shows (see nvidia-smi and CUDA_VISIBLE_DEVICES)")
    if missing:
        log.warning("CUDA libraries that cannot be loaded: %s", ", ".join(missing))


def run_probe(resolved: ResolvedDevice) -> None:
    """Run a graph of one operator.

    Raises:
        DeviceError, BundleError: the device does not run it.
    """
    session = open_session(_PROBE, resolved, threads=1)
    try:
        (result,) = session.run(None, {"x": np.array([-1.0], np.float32)})
    except Exception as error:
        raise _does_not_work(resolved.device, _first_line(error)) from error
    assert float(np.asarray(result)[0]) == 0.0, "the probe graph computes relu"


def _does_not_work(device: Device, got: str, remedy: str | None = None) -> DeviceError:
    return DeviceError(
        expected=f"a working {device} device",
        got=got,
        remedy=remedy
        or "check the driver, CUDA 13 and cuDNN 9 (pip install 'onnxruntime-gpu[cuda,cudnn]'), or use cpu",
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]
