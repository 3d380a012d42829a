"""Devices: what is there, what is refused, and the sessions opened on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from deploy.engine import devices, nvidia
from deploy.engine.devices import resolve_device
from deploy.engine.extractor import OrtExtractor
from deploy.engine.runtime import ScoringEngine
from pipeline.errors import ConfigError, DeviceError
from pipeline.settings import Device, Settings
from tests.checkout import REPOSITORY
from tests.parts.backbones import artefact
from tests.parts.gpu import cuda_works


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_missing_device_is_an_error_and_never_the_cpu(device: str) -> None:
    if cuda_works():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match=f"expected a working {device} device, got .+: .+ or use c"):
        resolve_device(device)
    with pytest.raises(DeviceError):
        ScoringEngine(artefact(), device)
    with pytest.raises(DeviceError):
        OrtExtractor(artefact(), device)


def test_opening_on_a_missing_device_raises_even_without_the_library_check() -> None:
    if cuda_works():
        pytest.skip("this machine has a GPU")
    for device in (Device.CUDA, Device.TENSORRT):
        with pytest.raises(DeviceError, match=f"working {device}"):
            devices.open_session(devices._PROBE, devices.ResolvedDevice(device, ""), threads=1)


def test_auto_says_what_it_took() -> None:
    resolved = resolve_device("auto")
    assert resolved.device in (Device.CPU, Device.CUDA)
    if resolved.device is Device.CPU:
        assert resolved.note.startswith("running on the CPU: CUDA does not work here (")
    assert resolve_device("cpu").providers() == [("CPUExecutionProvider", {})]
    with pytest.raises(ConfigError, match="cpu, cuda, tensorrt, auto"):
        resolve_device("gpu")


def test_what_a_run_will_take_is_known_before_it_opens_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no session is opened")

    by_device = {device: Settings(home=tmp_path, device=device) for device in Device}
    found = devices.open_device(None, by_device[Device.AUTO]).device
    monkeypatch.setattr(devices, "open_session", refuse)
    assert devices.expected_device(None, by_device[Device.AUTO]) is found
    assert devices.expected_device(Device.AUTO, by_device[Device.CPU]) is found
    assert devices.expected_device(None, by_device[Device.CPU]) is Device.CPU
    assert devices.expected_device(Device.CPU, by_device[Device.CUDA]) is Device.CPU
    assert (nvidia.visible_gpus() > 0) == (found is Device.CUDA)
    if found is Device.CUDA:
        assert devices.expected_device(None, by_device[Device.CUDA]) is Device.CUDA
    else:
        with pytest.raises(DeviceError, match=r"expected a working cuda device, got .+ or use cpu"):
            devices.expected_device(None, by_device[Device.CUDA])


def test_a_driver_without_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if cuda_works():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(devices, "loads", lambda _: True)
    with pytest.raises(DeviceError, match="expected a working cuda device, got no GPU that the driver shows"):
        resolve_device("cuda")


def test_a_device_that_a_request_names_counts_more_than_the_settings(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, device=Device.CPU)
    for left_open in (None, Device.AUTO):
        assert devices.open_device(left_open, settings).note == "running on the CPU, as asked"
    if not cuda_works():
        with pytest.raises(DeviceError):
            devices.open_device(Device.CUDA, settings)


def test_accelerated_providers_never_include_the_cpu(tmp_path: Path) -> None:
    for device, first in ((Device.CUDA, "CUDAExecutionProvider"), (Device.TENSORRT, "TensorrtExecutionProvider")):
        providers = devices.ResolvedDevice(device, "", tmp_path).providers()
        assert providers[0][0] == first
        assert "CPUExecutionProvider" not in dict(providers)


def test_a_gpus_memory_may_be_bounded() -> None:
    free = dict(devices.ResolvedDevice(Device.CUDA, "").providers())["CUDAExecutionProvider"]
    assert "gpu_mem_limit" not in free
    for device in (Device.CUDA, Device.TENSORRT):
        providers = dict(devices.ResolvedDevice(device, "", memory_mb=512).providers())
        assert providers["CUDAExecutionProvider"] == free | {"gpu_mem_limit": 512 * 2**20}


def test_the_probe_graph_runs() -> None:
    devices.run_probe(devices.ResolvedDevice(Device.CPU, ""))


def test_session_options_are_those_measured_fastest() -> None:
    options = OrtExtractor(artefact(), threads=1)._session.get_session_options()
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_session_does_not_keep_the_bytes_it_was_opened_from() -> None:
    model = artefact().onnx_path.read_bytes()
    held = sys.getrefcount(model)
    session = devices.open_session(model, resolve_device("cpu"), threads=1)
    assert sys.getrefcount(model) == held
    assert session.get_outputs()


def test_runtime_imports_no_torch_and_says_nothing() -> None:
    code = (
        "import sys; import deploy.engine.runtime; from deploy.engine.devices import resolve_device;"
        "print(resolve_device('auto').device);"
        "heavy = {'torch', 'onnx', 'model_zoo', 'timm', 'prefect'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() in ("cpu", "cuda")
    assert done.stderr == ""


def test_a_missing_library_is_named_before_onnxruntime_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "loads", lambda library: library != nvidia.TENSORRT_LIBRARY)
    monkeypatch.setattr(devices, "preload_cuda", list)
    with pytest.raises(DeviceError) as caught:
        resolve_device("tensorrt")
    assert str(caught.value) == (
        "expected a working tensorrt device, got no TensorRT 10 (libnvinfer.so.10): install TensorRT 10, or use cuda"
    )
    monkeypatch.setattr(devices.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda")
    assert str(caught.value) == (
        "expected a working cuda device, got an onnxruntime built without it: "
        "install onnxruntime-gpu in place of onnxruntime"
    )


def test_a_session_that_came_up_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._PROVIDER, "cpu", "CUDAExecutionProvider")  # what was wanted, and not got
    with pytest.raises(DeviceError, match="expected a working cpu device, got a session on CPUExecutionProvider: "):
        devices.run_probe(devices.ResolvedDevice(Device.CPU, ""))


def test_a_device_that_opens_and_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_PROBE", artefact().onnx_path.read_bytes())  # which has no input called x
    with pytest.raises(DeviceError, match="expected a working cpu device, got "):
        devices.run_probe(devices.ResolvedDevice(Device.CPU, ""))
