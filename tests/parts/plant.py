"""Parts that the tests of bundle, registry, results and scorer build from."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import simplejpeg
from onnx import helper

from deploy.bundles.manifest import (
    BackboneRecord,
    BundleDraft,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    SupportRecord,
)
from deploy.bundles.registry import Registry
from deploy.engine.backbone_artefact import BACKBONE_FORMAT, load_backbone_artefact
from pipeline.calibration import Threshold
from pipeline.features import BackboneArtefact, BackboneSpec, FeatureGroup, FeatureLevel
from pipeline.imaging.images import PreprocessSpec

SIZE = 32


def make_spec(*, size: int = SIZE, fingerprint: str = "0123456789abcdef") -> BackboneSpec:
    return BackboneSpec(
        name="average_pool",
        weights_sha256=hashlib.sha256(b"no weights").hexdigest(),
        weights_source="no weights at all",
        weights_licence="MIT",
        height=size,
        width=size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        levels=(FeatureLevel(stride=8, channels=3, height=size // 8, width=size // 8),),
        groups=(FeatureGroup(name="pool", level=0, start=0, stop=3),),
        fingerprint=fingerprint,
    )


def make_draft(
    *,
    line: str = "mvtec/pill",
    version: str = "v1",
    created_at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    onnx_sha256: str = "a" * 64,
    spec: BackboneSpec | None = None,
    review: float = 1.0,
    reject: float = 2.0,
    white_level: int | None = None,
) -> BundleDraft:
    spec = spec or make_spec()
    return BundleDraft(
        line=line,
        version=version,
        created_at=created_at,
        learner=LearnerRecord(name="memory_bank", config={"coreset": 256, "scales": [1, 2]}, meta_model=None),
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint, onnx_sha256=onnx_sha256),
        spec=spec,
        preprocess=PreprocessSpec(height=spec.height, width=spec.width, white_level=white_level),
        support=SupportRecord(good=("b" * 64, "c" * 64), defects=("d" * 64,), masks=1),
        threshold=Threshold(
            reject=reject,
            review=review,
            pixel=1.5,
            method="conformal",
            sample_count=48,
            target_false_reject_rate=0.01,
            expected_false_reject_rate=0.021,
        ),
        metrics={"image_auroc": 0.9731},
        parity=ParityRecord(max_score_error=3e-6, max_map_error=5e-6, tolerance=1e-3, images=8),
        lineage=LineageRecord(training_lines=("synthetic_1",), parent=None, seed=7),
    )


def bundle_files() -> dict[str, bytes | Path]:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(24, dtype=np.int32).reshape(6, 4))
    return {
        "head.onnx": bytes(range(256)) * 4,
        "bank_sources.npy": buffer.getvalue(),
        "support/000.jpg": simplejpeg.encode_jpeg(np.full((8, 8, 3), 40, np.uint8)),
        "support/001.jpg": simplejpeg.encode_jpeg(np.full((8, 8, 3), 50, np.uint8)),
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@contextmanager
def mounted_tmpfs(folder: Path, *, kilobytes: int, read_only: bool = False) -> Iterator[Path]:
    """A real file system of a few kilobytes; the test skips where mounting is not allowed."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root and mount(8)")
    folder.mkdir()
    options = f"size={kilobytes}k" + (",ro" if read_only else "")
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", folder]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, folder], check=True)


def write_backbone(folder: Path, *, size: int = SIZE, fingerprint: str = "0123456789abcdef") -> BackboneArtefact:
    """A real backbone graph without weights: the mean colour of each 8 x 8 block."""
    spec = make_spec(size=size, fingerprint=fingerprint)
    cells = size // 8
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["channels_first"], ["level_0"], kernel_shape=[8, 8], strides=[8, 8], name=fingerprint
        ),
    ]
    model = _model(
        nodes,
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["B", size, size, 3])],
        [helper.make_tensor_value_info("level_0", onnx.TensorProto.FLOAT, ["B", 3, cells, cells])],
    )
    folder.mkdir(parents=True)
    (folder / "backbone.onnx").write_bytes(model)
    sha256 = hashlib.sha256(model).hexdigest()
    manifest = {"format_version": BACKBONE_FORMAT, "spec": spec.to_json(), "onnx_sha256": sha256}
    (folder / "backbone.json").write_text(json.dumps(manifest))
    return load_backbone_artefact(folder)


def head_graph(*, size: int = SIZE, scale: float = 1 / 255) -> bytes:
    """A real head graph: a cell's anomaly is its brightest channel times `scale`; an image's score its worst cell's."""
    cells = size // 8
    nodes = [
        helper.make_node("ReduceMax", ["level_0", "channel_axis"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "scale"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map", "grid_axes"], ["image_score"], keepdims=0),
        helper.make_node("ArgMax", ["level_0"], ["nearest"], axis=1, keepdims=0),
    ]
    constants = [
        helper.make_tensor("channel_axis", onnx.TensorProto.INT64, [1], [1]),
        helper.make_tensor("grid_axes", onnx.TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [scale]),
    ]
    grid = ["B", cells, cells]
    return _model(
        nodes,
        [helper.make_tensor_value_info("level_0", onnx.TensorProto.FLOAT, ["B", 3, cells, cells])],
        [
            helper.make_tensor_value_info("image_score", onnx.TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("anomaly_map", onnx.TensorProto.FLOAT, grid),
            helper.make_tensor_value_info("nearest", onnx.TensorProto.INT64, grid),
        ],
        constants,
    )


def log_head() -> bytes:
    """A head whose map is a log: a black cell has minus infinity there, and the brightest one makes the score."""
    model = onnx.load_model_from_string(head_graph())
    multiply = model.graph.node[1]
    multiply.output[0] = "linear"
    model.graph.node.insert(2, helper.make_node("Log", ["linear"], ["anomaly_map"]))
    return model.SerializeToString()


def _model(nodes: list, inputs: list, outputs: list, constants: list | None = None) -> bytes:
    graph = helper.make_graph(nodes, "plant_parts", inputs, outputs, constants or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_plant(home: Path, *, line: str = "mvtec/pill", review: float = 0.4, reject: float = 0.6) -> Registry:
    """A registry with one backbone and one live line whose score is the brightest cell, 0..1."""
    registry = Registry(home)
    artefact = registry.add_backbone(write_backbone(home.parent / f"{home.name}_export"))
    draft = make_draft(line=line, onnx_sha256=artefact.onnx_sha256, review=review, reject=reject)
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph()})
    registry.promote(line, draft.version)
    return registry


def write_image(path: Path, *, brightness: int, seed: int = 0, size: int = 48) -> Path:
    """A PNG whose brightest cell has about that brightness; another seed gives other content."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 9, (size, size, 3), dtype=np.uint8)
    image[: size // 2, : size // 2] = brightness
    image[-1, -1] = [seed % 256, seed // 256 % 256, seed // 65536 % 256]  # no two seeds give the same content
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def later_draft(registry: Registry, version: str, day: int, line: str = "mvtec/pill") -> BundleDraft:
    """What a later version of a line says of itself, on the backbone of the live one."""
    return make_draft(
        line=line,
        version=version,
        onnx_sha256=registry.live("mvtec/pill").manifest.backbone.onnx_sha256,
        created_at=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(days=day),
    )


def write_versions(home: Path) -> Registry:
    """A plant whose line has the versions v1 (live), v2 and v3."""
    registry = write_plant(home)
    for number in (2, 3):
        registry.add(later_draft(registry, f"v{number}", number), {**bundle_files(), "head.onnx": head_graph()})
    return registry
