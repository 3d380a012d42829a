"""The engine: the right numbers from many threads, and a sentence instead of a silent fallback."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.engine.backbone_artefact import load_backbone_artefact
from deploy.engine.extractor import OrtExtractor
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import export_head
from pipeline.errors import BundleError
from pipeline.features import BackboneArtefact
from pipeline.settings import Device
from tests.parts.backbones import SIZE, SmallHead, artefact, backbone, images, levels
from tests.parts.gpu import cuda_works
from tests.parts.plant import write_backbone


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported heads by name."""
    folder = tmp_path_factory.mktemp("heads")
    made = {}
    for seed in range(3):
        path = folder / f"{seed}.onnx"
        export_head(SmallHead(seed=seed), levels(), path, template_folder=folder / "templates")
        made[f"line{seed}"] = path
    return made


@pytest.fixture
def engine(heads: dict[str, Path]) -> ScoringEngine:
    engine = ScoringEngine(artefact(), Device.CPU)
    for name, path in heads.items():
        engine.add_head(name, path)
    return engine


@torch.inference_mode()
def test_scores_equal_torch(engine: ScoringEngine) -> None:
    for seed in range(3):
        scores = engine.score(f"line{seed}", images())
        expected = SmallHead(seed=seed)(*backbone()(torch.from_numpy(images())))
        np.testing.assert_allclose(scores.image_score, expected.image_score.numpy(), atol=1e-4)
        np.testing.assert_allclose(scores.anomaly_map, expected.anomaly_map.numpy(), atol=1e-4)
        assert np.mean(scores.nearest == expected.nearest.numpy()) > 0.99
        assert (scores.image_score.shape, scores.anomaly_map.shape) == ((4,), (4, SIZE // 8, SIZE // 8))
        assert (scores.nearest.shape, scores.nearest.dtype) == ((4, SIZE // 16, SIZE // 16), np.int64)
        assert scores.anomaly_map.dtype == scores.image_score.dtype == np.float32


def test_an_image_scores_the_same_in_any_company(engine: ScoringEngine) -> None:
    together = engine.score("line0", images())
    for i in range(len(images())):
        alone = engine.score("line0", images()[i : i + 1])
        assert alone.image_score[0] == together.image_score[i]
        assert np.array_equal(alone.anomaly_map[0], together.anomaly_map[i])


def test_views_and_strides_are_taken_as_they_are(engine: ScoringEngine) -> None:
    flipped = images()[:, ::-1]
    assert not flipped.flags.c_contiguous
    scores = engine.score("line0", flipped)
    assert np.array_equal(scores.anomaly_map, engine.score("line0", flipped.copy()).anomaly_map)
    assert not np.allclose(scores.anomaly_map, engine.score("line0", images()).anomaly_map)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, SIZE, SIZE, 3), np.float32), "got float32"),
        (np.zeros((SIZE, SIZE, 3), np.uint8), "expected uint8 images"),
        (np.zeros((1, 3, SIZE, SIZE), np.uint8), "expected uint8 images"),
        (np.zeros((1, SIZE, SIZE // 2, 3), np.uint8), "expected uint8 images"),
        (np.zeros((0, SIZE, SIZE, 3), np.uint8), "empty batch"),
    ],
)
def test_wrong_images_are_refused(engine: ScoringEngine, bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.score("line0", bad)
    with pytest.raises(ValueError, match=message):
        engine.extractor.extract(bad)


def test_many_threads_on_one_engine(heads: dict[str, Path]) -> None:
    engine = ScoringEngine(artefact(), Device.CPU, max_heads=2)  # three heads: eviction happens under way
    for name, path in heads.items():
        engine.add_head(name, path)
    jobs = [(f"line{i % 3}", i % 4) for i in range(60)]
    expected = {job: engine.score(job[0], images()[job[1]][None]).image_score[0] for job in set(jobs)}
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda job: engine.score(job[0], images()[job[1]][None]).image_score[0], jobs))
    assert got == [expected[job] for job in jobs]
    assert len(set(expected.values())) == 12


def test_least_recently_used_heads_are_closed(heads: dict[str, Path]) -> None:
    engine = ScoringEngine(artefact(), Device.CPU, max_heads=2)
    engine.add_head("line0", heads["line0"])
    engine.add_head("line1", heads["line1"])
    engine.score("line0", images()[:1])
    engine.add_head("line2", heads["line2"])
    assert set(engine._loaded) == {"line0", "line2"}
    assert engine.heads == ("line0", "line1", "line2")  # line1 is closed, not forgotten
    engine.score("line1", images()[:1])
    assert set(engine._loaded) == {"line1", "line2"}
    with pytest.raises(ValueError, match="max_heads"):
        ScoringEngine(artefact(), Device.CPU, max_heads=0)


def test_a_head_that_changed_while_closed_is_refused(heads: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    shutil.copy(heads["line0"], path)
    engine = ScoringEngine(artefact(), Device.CPU, max_heads=1)
    engine.add_head("line0", path)
    engine.add_head("line1", heads["line1"])
    shutil.copy(heads["line2"], path)
    with pytest.raises(BundleError, match=r"head\.onnx with sha256"):
        engine.score("line0", images())
    engine.score("line1", images())


def test_heads_are_swapped_and_removed(heads: dict[str, Path]) -> None:
    engine = ScoringEngine(artefact(), Device.CPU)
    engine.add_head("live", heads["line0"])
    before = engine.score("live", images()).image_score
    engine.add_head("live", heads["line1"])
    assert not np.allclose(engine.score("live", images()).image_score, before)
    engine.remove_head("live")
    engine.remove_head("live")
    with pytest.raises(KeyError, match="no head 'live'; added are none"):
        engine.score("live", images())


def test_a_head_is_checked_before_it_is_used(heads: dict[str, Path], tmp_path: Path) -> None:
    engine = ScoringEngine(artefact(), Device.CPU)
    with pytest.raises(BundleError, match="sha256 0000"):
        engine.add_head("line", heads["line0"], "0" * 64)
    with pytest.raises(BundleError, match="readable"):
        engine.add_head("line", tmp_path / "missing.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(BundleError, match="onnxruntime can load"):
        engine.add_head("line", tmp_path / "junk.onnx")
    with pytest.raises(BundleError, match="outputs"):
        engine.add_head("line", _backbone_shaped_like_a_head(tmp_path))
    assert engine.heads == ()


def _backbone_shaped_like_a_head(folder: Path) -> Path:
    """A graph with a head's inputs and other outputs."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 40, SIZE // 8, SIZE // 8]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["level_0"], ["score"])],
        "other",
        [helper.make_tensor_value_info("level_0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)],
    )
    path = folder / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_head_of_another_backbone_is_refused(heads: dict[str, Path], tmp_path: Path) -> None:
    engine = ScoringEngine(write_backbone(tmp_path / "other"), Device.CPU)
    with pytest.raises(BundleError, match="use the backbone that the head was adapted with"):
        engine.add_head("line0", heads["line0"])


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = tmp_path / "backbone"
    shutil.copytree(artefact().folder, folder)
    return folder


def test_one_changed_byte_is_found(damaged: Path) -> None:
    intact = load_backbone_artefact(damaged)
    content = bytearray(intact.onnx_path.read_bytes())
    content[len(content) // 2] ^= 1
    intact.onnx_path.write_bytes(content)
    with pytest.raises(BundleError, match=r"backbone\.onnx with sha256"):
        load_backbone_artefact(damaged)
    with pytest.raises(BundleError, match=r"backbone\.onnx with sha256"):
        OrtExtractor(intact)  # also when it changed after it was loaded


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "backbone.json").unlink(),
        lambda folder: (folder / "backbone.onnx").unlink(),
        lambda folder: (folder / "backbone.json").write_text("{"),
        lambda folder: (folder / "backbone.json").write_text("[]"),
        lambda folder: (folder / "backbone.json").write_text('{"format_version": 1}'),
        lambda folder: _edit(folder, format_version=2),
        lambda folder: _edit(folder, spec={"name": "x"}),
    ],
)
def test_unusable_backbone_folders_are_explained(damaged: Path, change) -> None:
    change(damaged)
    with pytest.raises(BundleError, match="export the backbone again"):
        load_backbone_artefact(damaged)


def _edit(folder: Path, **fields: object) -> None:
    path = folder / "backbone.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_graph_of_another_backbone_is_refused(damaged: Path, heads: dict[str, Path]) -> None:
    shutil.copy(heads["line0"], damaged / "backbone.onnx")
    import hashlib

    digest = hashlib.sha256((damaged / "backbone.onnx").read_bytes()).hexdigest()
    with pytest.raises(BundleError, match="graph with outputs"):
        OrtExtractor(BackboneArtefact(damaged, artefact().spec, digest))


@pytest.mark.gpu
def test_cuda_equals_cpu(heads: dict[str, Path], engine: ScoringEngine) -> None:
    if not cuda_works():
        pytest.skip("CUDA does not work here")
    fast = ScoringEngine(artefact(), Device.CUDA)
    for name, path in heads.items():
        fast.add_head(name, path)
        outputs = (scored.score(name, images()).outputs() for scored in (fast, engine))
        for got, expected in zip(*outputs, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-2)
