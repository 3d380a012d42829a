"""The backbone's graph: what it holds, and that it computes what torch does."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploy.engine.backbone_artefact import load_backbone_artefact
from deploy.engine.extractor import OrtExtractor
from deploy.exporting import torch_to_onnx as export_module
from deploy.exporting.onnx_graphs import ExportedGraph
from deploy.exporting.torch_to_onnx import export_backbone
from pipeline.errors import BundleError, ParityError, StorageError
from tests.parts.backbones import NAMES, SIZE, artefact, backbone, operators


def test_backbone_artefact_on_disk() -> None:
    exported = artefact()
    data = json.loads((exported.folder / "backbone.json").read_text())
    assert data["onnx_sha256"] == hashlib.sha256(exported.onnx_path.read_bytes()).hexdigest()
    assert data["parity"]["max_error"] < 1e-4
    assert exported.spec == backbone().spec
    graph = onnx.load(exported.onnx_path).graph
    assert [value.name for value in graph.output] == NAMES
    (images_input,) = graph.input
    batch, *rest = images_input.type.tensor_type.shape.dim
    assert batch.dim_param and [dim.dim_value for dim in rest] == [SIZE, SIZE, 3]
    assert images_input.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_backbone_graph_is_folded_and_free_of_shape_arithmetic() -> None:
    kinds = set(operators(artefact().onnx_path))
    assert "Conv" in kinds
    # a Shape would stop an accelerator for the CPU, and a session that forbids the CPU would not open
    assert not kinds & {"BatchNormalization", "Shape", "Constant", "Pad", "If", "Loop"}


@torch.inference_mode()
def test_backbone_onnx_equals_torch_for_any_batch() -> None:
    extractor = OrtExtractor(artefact())
    rng = np.random.default_rng(0)
    for count in (1, 3):
        noise = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
        for onnx_level, torch_level in zip(extractor.extract(noise), backbone()(torch.from_numpy(noise)), strict=True):
            np.testing.assert_allclose(onnx_level, torch_level.numpy(), rtol=1e-4, atol=1e-4)


def test_an_intact_export_is_kept_and_a_damaged_one_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "backbone"
    shutil.copytree(artefact().folder, folder)
    modified = (folder / "backbone.onnx").stat().st_mtime_ns
    export_backbone(backbone(), backbone().spec, folder)
    assert (folder / "backbone.onnx").stat().st_mtime_ns == modified
    content = bytearray((folder / "backbone.onnx").read_bytes())
    content[1000] ^= 1
    (folder / "backbone.onnx").write_bytes(content)
    with pytest.raises(BundleError):
        load_backbone_artefact(folder)
    export_backbone(backbone(), backbone().spec, folder)
    assert load_backbone_artefact(folder).onnx_sha256 == artefact().onnx_sha256  # and exports are reproducible
    assert [path.name for path in tmp_path.iterdir()] == ["backbone"]  # nothing half-made is left behind


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = ExportedGraph(onnx.load(artefact().onnx_path), False)
    monkeypatch.setattr(export_module, "export_graph", lambda *_, **__: traced)  # tracing it anew takes seconds
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "backbone"
    with pytest.raises(StorageError) as caught:
        export_backbone(backbone(), backbone().spec, folder)
    assert str(caught.value) == (
        f"expected a folder {folder.parent} to write into, got File exists: name another output folder"
    )


def test_a_backbone_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = onnx.load(artefact().onnx_path)
    weight = other.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.5)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    monkeypatch.setattr(
        export_module, "export_graph", lambda *_, **__: ExportedGraph(other, False)
    )  # a miscompiling exporter
    with pytest.raises(ParityError, match=r"within 0\.001 of torch"):
        export_backbone(backbone(), backbone().spec, tmp_path / "backbone")
    assert list(tmp_path.iterdir()) == []
