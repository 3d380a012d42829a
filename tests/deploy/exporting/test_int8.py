"""int8: what it makes of a backbone, the gate that a line's images are, and what an int8 bundle says of itself.

The plant's backbone here is a real graph of ten convolutions that hand brightness on, so that the score of an image is
its brightest cell: what its images rank like is known.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from scipy.stats import spearmanr

from deploy.bundles.bundle import load_bundle
from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.engine.backbone_artefact import BACKBONE_FORMAT, load_backbone_artefact
from deploy.engine.devices import saturates
from deploy.engine.extractor import OrtExtractor
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.int8 import FLOAT_CONVOLUTIONS, calibration_images, quantise_backbone
from flows import cli
from flows.export import int8_gate as int8_job
from flows.export import job as export_job
from flows.export.request import ExportRequest
from pipeline.calibration import Threshold
from pipeline.errors import ConfigError, LineError, PrecisionError
from pipeline.features import BackboneArtefact
from pipeline.precision_gate import Comparison, compare
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from tests.parts import backbones as backbone_parts
from tests.parts.plant import bundle_files, head_graph, make_draft, make_spec, write_backbone, write_image

LINE = "mvtec/pill"
SIZE = 64  # the smallest that images are generated at
CONVOLUTIONS = 10
THRESHOLD = Threshold(
    reject=0.6,
    review=0.4,
    pixel=0.5,
    method="test",
    sample_count=4,
    target_false_reject_rate=0.01,
    expected_false_reject_rate=0.01,
)


def write_convolutions(folder: Path) -> BackboneArtefact:
    """Brightness 0..1 through ten 1 x 1 convolutions that mix the channels a little, each with its activation."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=onnx.TensorProto.FLOAT, name="cast"),
        helper.make_node("Transpose", ["floats"], ["channels_first"], perm=[0, 3, 1, 2], name="transpose"),
        helper.make_node("Mul", ["channels_first", "unit"], ["x0"], name="scale"),
    ]
    constants = [
        numpy_helper.from_array(np.float32(value), name) for name, value in (("unit", 1 / 255), ("low", 0), ("high", 6))
    ]
    for index in range(CONVOLUTIONS):
        mix = np.eye(3) + rng.uniform(0, 0.2, (3, 3))
        weight = (mix / mix.sum(1, keepdims=True)).astype(np.float32)[:, :, None, None]
        constants.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes += [
            helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"y{index}"], name=f"conv{index}"),
            helper.make_node("Clip", [f"y{index}", "low", "high"], [f"x{index + 1}"], name=f"clip{index}"),
        ]
    nodes.append(
        helper.make_node(
            "AveragePool", [f"x{CONVOLUTIONS}"], ["level_0"], kernel_shape=[8, 8], strides=[8, 8], name="pool"
        )
    )
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["B", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("level_0", onnx.TensorProto.FLOAT, ["B", 3, SIZE // 8, SIZE // 8])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    sha256 = hashlib.sha256(model).hexdigest()
    folder.mkdir(parents=True)
    (folder / "backbone.onnx").write_bytes(model)
    manifest = {"format_version": BACKBONE_FORMAT, "spec": make_spec(size=SIZE).to_json(), "onnx_sha256": sha256}
    (folder / "backbone.json").write_text(json.dumps(manifest))
    return load_backbone_artefact(folder)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one live line on that backbone; its support has an image of the folder `images` beside it."""
    root = tmp_path_factory.mktemp("plant")
    for index in range(10):
        write_image(root / "images" / "good" / f"{index}.png", brightness=30 + 5 * index, seed=index)
    for index in range(9):
        write_image(root / "images" / "defect" / f"{index}.png", brightness=180 + 8 * index, seed=50 + index)
    registry = Registry(root / "home")
    artefact = registry.add_backbone(write_convolutions(root / "export"))
    draft = make_draft(line=LINE, spec=artefact.spec, onnx_sha256=artefact.onnx_sha256, review=0.4, reject=0.6)
    used = sha256_file(root / "images" / "good" / "0.png")
    draft = draft.model_copy(update={"support": draft.support.model_copy(update={"good": (used,)})})
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph(size=SIZE, scale=1.0)})
    registry.promote(LINE, draft.version)
    return root


def export(plant: Path, destination: Path, **changes: object) -> export_job.ExportResult:
    request = {"line": LINE, "destination": destination, "int8": plant / "images"} | changes
    return export_job.run(ExportRequest(**request), load_settings(plant / "home"))


@pytest.fixture(scope="module")
def packed(plant: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[export_job.ExportResult, Path]:
    folder = tmp_path_factory.mktemp("packed") / "pack"
    return export(plant, folder), folder


def test_an_int8_pack_scores_as_float32_does_within_the_gate(plant: Path, packed) -> None:
    result, folder = packed
    deployment, before = open_packed(folder), Registry(plant / "home").deployment(LINE)
    assert result.version == deployment.bundle.manifest.version == "v1-int8"
    kinds = backbone_parts.operators(deployment.backbone.onnx_path)
    assert kinds.count("Conv") == CONVOLUTIONS
    assert kinds.count("Clip") == FLOAT_CONVOLUTIONS, "later activations are part of their quantised convolution"
    images = np.stack([np.full((SIZE, SIZE, 3), value, np.uint8) for value in range(10, 250, 40)])
    scores = []
    for side in (before, deployment):
        engine = ScoringEngine(side.backbone, "cpu")
        engine.add_head(LINE, side.bundle.head_path, side.bundle.head_sha256)
        scores.append(engine.score(LINE, images).image_score)
    assert np.abs(scores[0] - scores[1]).max() < 0.02
    assert not np.array_equal(*scores), "it is quantised"
    comparison = result.int8
    assert comparison is not None and result.speedup is not None and result.speedup > 0
    assert (comparison.good, comparison.defects) == (9, 9), "the support's good image is left out"
    assert comparison.auroc_float32 == comparison.auroc_int8 == 1.0
    assert comparison.rank_correlation > 0.98 and comparison.decisions_changed == 0


def test_an_int8_bundle_keeps_head_and_threshold_and_says_what_the_gate_saw(plant: Path, packed) -> None:
    folder = packed[1]
    bundle, before = load_bundle(folder / "bundle"), Registry(plant / "home").live(LINE)
    manifest = bundle.manifest
    assert (manifest.threshold, bundle.head_sha256) == (before.manifest.threshold, before.head_sha256)
    assert manifest.backbone.fingerprint == manifest.backbone.onnx_sha256[:16] != before.manifest.backbone.fingerprint
    assert manifest.lineage.parent == "v1"
    assert manifest.int8 is not None
    assert (manifest.int8.float32_version, manifest.int8.good) == ("v1", 9)
    assert manifest.int8.float32_fingerprint == before.manifest.backbone.fingerprint
    told = "| int8 backbone | On 9 good and 9 defective images of the line: image AUROC 100.00% (float32 100.00%)"
    assert told in bundle.card_path.read_text()
    assert "int8" not in before.card_path.read_text()


def test_it_lives_beside_the_float32_version_in_a_registry(plant: Path, packed, tmp_path: Path) -> None:
    home = shutil.copytree(plant / "home", tmp_path / "home")
    registry = Registry(home)
    registry.add_packed(packed[1])
    assert registry.promote(LINE, "v1-int8").manifest.int8 is not None
    assert len(registry.backbones()) == 2
    assert registry.roll_back(LINE).manifest.int8 is None
    with pytest.raises(ConfigError, match="int8 already: export version v1"):
        export(tmp_path, tmp_path / "again", version="v1-int8", int8=plant / "images")


def test_int8_that_ranks_otherwise_is_refused_with_the_figures(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dark(spec: object) -> np.ndarray:  # ranges that no lit part fits into
        return np.full((2, SIZE, SIZE, 3), 20, np.uint8)

    monkeypatch.setattr(int8_job, "calibration_images", dark)
    with pytest.raises(PrecisionError) as caught:
        export(plant, tmp_path / "pack")
    assert "rank 9 good and 9 defective images as float32 does" in caught.value.expected
    assert "image AUROC 100.00 % in float32 and 50.00 % in int8" in caught.value.got
    assert "9 of 18 decisions changed" in caught.value.got
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_int8_needs_images_that_the_line_was_not_adapted_from(plant: Path, tmp_path: Path) -> None:
    images = shutil.copytree(plant / "images", tmp_path / "images")
    for index in (1, 2):
        (images / "good" / f"{index}.png").unlink()
    with pytest.raises(LineError, match=r"at least 8 good images that the line was not adapted from.* got 7 in"):
        export(plant, tmp_path / "pack", int8=images)
    for index in (1, 2):
        (images / "good" / f"{index}.png").write_text("not an image")
    with pytest.raises(LineError, match="can be read, got 7"):
        export(plant, tmp_path / "pack", int8=images)


def test_the_command_says_what_the_gate_saw(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(plant / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    arguments = ["export", LINE, str(tmp_path / "pack"), "--int8", str(plant / "images")]
    monkeypatch.setattr(sys, "argv", ["linewise", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"{LINE} v1-int8" in said and "0 of 18 decisions changed" in said and "times as fast as float32 here" in said


def test_a_backbone_without_enough_convolutions_is_refused(tmp_path: Path) -> None:
    artefact = write_backbone(tmp_path / "pool", size=SIZE)
    with pytest.raises(ConfigError, match="average_pool with 0"):
        quantise_backbone(artefact, calibration_images(artefact.spec), tmp_path)


def test_the_default_backbone_keeps_most_of_its_features(tmp_path: Path) -> None:
    artefact = backbone_parts.artefact()
    calibration = calibration_images(artefact.spec)
    (tmp_path / "int8").mkdir()
    quantised = quantise_backbone(artefact, calibration, tmp_path / "int8")
    assert quantised.spec.levels == artefact.spec.levels
    assert quantised.onnx_path.stat().st_size < artefact.onnx_path.stat().st_size / 2
    sides = [OrtExtractor(side, threads=1).extract(backbone_parts.images()) for side in (artefact, quantised)]
    for before, after in zip(*sides, strict=True):
        variance = np.square(before - before.mean((0, 2, 3), keepdims=True)).mean()
        assert 0 < np.sqrt(np.square(after - before).mean() / variance) < 0.12


def test_more_or_fewer_convolutions_may_stay_float32(tmp_path: Path) -> None:
    artefact = write_convolutions(tmp_path / "float32")
    for count in (9, 3):
        (folder := tmp_path / f"{count}").mkdir()
        made = quantise_backbone(artefact, calibration_images(artefact.spec), folder, float_convolutions=count)
        weights = [node.input[1] for node in onnx.load(made.onnx_path).graph.node if node.op_type == "Conv"]
        assert sum(not name.endswith("DequantizeLinear_Output") for name in weights) == count
        assert json.loads((folder / "backbone.json").read_text())["int8"]["float32_convolutions"] == count


def compared(before: np.ndarray, after: np.ndarray, defective: np.ndarray) -> Comparison:
    decide = THRESHOLD.decide
    changed = sum(decide(float(a)) is not decide(float(b)) for a, b in zip(before, after, strict=True))
    return compare(before, after, defective, decisions_changed=changed)


def test_the_gate_lets_equal_rankings_through() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.25, 0.7, 0.8], np.float32)
    defective = np.array([False] * 4 + [True] * 2)
    same = compared(scores, scores, defective)
    assert same.passes and same.largest_difference == 0
    same.require()
    moved = compared(scores, scores + np.float32(0.01), defective)
    assert moved.passes and moved.good_shift == pytest.approx(0.01 / scores[:4].std(ddof=1), rel=1e-4)
    alone = compared(scores[:4], scores[:4], defective[:4])
    assert alone.passes and np.isnan(alone.auroc_int8) and "AUROC" not in alone.figures


@pytest.mark.parametrize(
    ("after", "figure"),
    [
        ([0.1, 0.2, 0.3, 0.75, 0.7, 0.8], "image AUROC 100.00 % in float32 and 87.50 % in int8"),
        ([0.2, 0.3, 0.1, 0.25, 0.7, 0.8], "rank correlation 0.600"),
        ([0.1, 0.2, 0.3, 0.25, 0.5, 0.8], "1 of 6 decisions changed"),
        ([0.2, 0.3, 0.39, 0.35, 0.7, 0.8], "good scores moved by +1.14"),
        ([0.5] * 6, "rank correlation 0.000"),
        ([0.1, 0.2, 0.3, 0.25, 0.7, np.nan], "rank correlation 0.000"),
    ],
)
def test_the_gate_refuses_and_says_why(after: list[float], figure: str) -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.25, 0.7, 0.8], np.float32)
    comparison = compared(scores, np.array(after, np.float32), np.array([False] * 4 + [True] * 2))
    assert not comparison.passes
    with pytest.raises(PrecisionError) as caught:
        comparison.require()
    assert figure in caught.value.got


def test_ranks_correlate_as_in_scipy() -> None:
    rng = np.random.default_rng(0)
    before, noise = rng.integers(0, 6, 40) / 10, rng.normal(0, 0.1, 40)
    expected = spearmanr(before, before + noise).statistic
    comparison = compared(before, before + noise, np.arange(40) > 19)
    assert comparison.rank_correlation == pytest.approx(expected)


def test_an_x64_processor_without_vnni_saturates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (old := tmp_path / "old").write_text("flags : fpu sse4_2 avx2 avx512f\n")
    (new := tmp_path / "new").write_text("flags : fpu avx2 avx512_vnni\n")
    saturates.cache_clear()
    for machine, expected in (("x86_64", [True, False, True]), ("aarch64", [False, False, False])):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert [saturates(path) for path in (old, new, tmp_path / "none")] == expected
        saturates.cache_clear()
