"""Maps leave a device only for who asks, and a map that nobody asks for still never passes where it is not finite."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from deploy.engine.devices import open_session, resolve_device
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import HEAD_OUTPUTS, SCORE_COVERS_MAP
from deploy.exporting.score_cover import cover_map
from deploy.scoring.dispatch import Batched
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.worker import ScoringWorker
from pipeline.calibration import Decision
from pipeline.features import BackboneArtefact
from pipeline.imaging.images import image_limits
from pipeline.settings import Device
from tests.deploy.scoring_plant import LINE, Plant
from tests.parts.gpu import cuda_works
from tests.parts.plant import SIZE, head_graph, log_head, write_backbone, write_image

CELLS = SIZE // 8
LARGEST = float(np.finfo(np.float32).max)


def covered(content: bytes) -> bytes:
    """That head, as export writes it."""
    model = onnx.load_model_from_string(content)
    cover_map(model)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> BackboneArtefact:
    return write_backbone(tmp_path_factory.mktemp("lazy") / "backbone")


def engine_with(backbone: BackboneArtefact, folder: Path, device: str = "cpu", **heads: bytes) -> ScoringEngine:
    engine = ScoringEngine(backbone, device, batch=8)
    for name, content in heads.items():
        (folder / f"{name}.onnx").write_bytes(content)
        engine.add_head(name, folder / f"{name}.onnx")
    return engine


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many outputs onnxruntime was asked to hand over as arrays, by what they are."""
    counted: Counter[str] = Counter()
    hand_over = ort.OrtValue.numpy

    def counting(value: ort.OrtValue) -> NDArray[np.generic]:
        kinds = {(1, "tensor(float)"): "scores", (3, "tensor(float)"): "maps", (3, "tensor(int64)"): "rows"}
        counted[kinds[len(value.shape()), value.data_type()]] += 1
        return hand_over(value)

    monkeypatch.setattr(ort.OrtValue, "numpy", counting)
    return counted


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(1, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_only_what_is_asked_for_is_copied_and_once(
    backbone: BackboneArtefact, tmp_path: Path, copies: Counter[str]
) -> None:
    engine = engine_with(backbone, tmp_path, caps=covered(head_graph()), vials=covered(head_graph(scale=2.0)))
    names = ["vials", "caps", "vials", "vials", "caps"]
    scores = engine.score_mixed(names, pictures(5))
    assert all(image.finite for image in scores)
    assert copies == {"scores": 2}, "of two heads"
    first = scores[0].anomaly_map
    assert copies == {"scores": 2, "maps": 1}
    assert float(first.max()) == scores[0].score
    _ = scores[2].anomaly_map, scores[0].anomaly_map
    assert copies == {"scores": 2, "maps": 1}, "the other rows of that head's run came with it"
    outputs = scores.outputs()
    assert copies == {"scores": 2, "maps": 2, "rows": 2}
    assert [len(output) for output in outputs] == [5, 5, 5]
    np.testing.assert_array_equal(outputs.anomaly_map.max((1, 2)), outputs.image_score)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("others", [0.0, 1.0, -1.0, LARGEST, -LARGEST])
def test_one_cell_that_is_not_finite_takes_the_score_with_it(bad: float, others: float) -> None:
    plain, cover = (
        open_session(content, resolve_device("cpu"), threads=1)
        for content in (head_graph(scale=1.0), covered(head_graph(scale=1.0)))
    )
    level = np.full((3, 3, CELLS, CELLS), others, np.float32)
    level[1, :, 2, 1] = bad
    before, after = (
        [np.asarray(output) for output in session.run(list(HEAD_OUTPUTS), {"level_0": level})]
        for session in (plain, cover)
    )
    assert not np.isfinite(before[1][1]).all()
    assert not np.isfinite(after[0][1])
    if bad == np.inf:
        assert after[0][1] == np.inf, "what rejects goes on rejecting"
    for row in (0, 2):
        assert after[0][row].tobytes() == before[0][row].tobytes()
    for got, expected in zip(after[1:], before[1:], strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.fixture
def plant(plant: Plant) -> Plant:
    """Five images of the live line, the last above its threshold."""
    for seed in range(5):
        write_image(plant.images / f"{seed}.png", brightness=[30, 40, 50, 60, 250][seed], seed=seed)
    return plant


def use(plant: Plant, content: bytes) -> None:
    path = plant.root / "head.onnx"
    path.write_bytes(content)
    plant.engine.add_head(LINE, path)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_run_copies_the_maps_of_flagged_images_alone(plant: Plant, copies: Counter[str], batch_size: int) -> None:
    use(plant, covered(head_graph()))
    summary = plant.score(overlays=plant.root / "overlays", batch_size=batch_size)
    assert (summary.counts.scored, summary.counts.flagged) == (5, 1)
    assert (copies["maps"], copies["rows"]) == (1, 0)
    assert copies["scores"] == 5, "one an image on the CPU, and none of what fills a batch"
    assert len(list((plant.root / "overlays").rglob("*.jpg"))) == 1


@pytest.mark.parametrize("cover", [True, False])
def test_a_map_that_is_not_finite_never_passes_whoever_sees_to_it(
    plant: Plant, copies: Counter[str], cover: bool
) -> None:
    use(plant, covered(log_head()) if cover else log_head())
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    image[:8, :8] = 0
    assert cv2.imwrite(str(plant.images / "black corner.png"), image)
    seen: dict[str, tuple[ImageResult, ImageView | None]] = {}
    plant.score(on_result=lambda result, view: seen.update({result.name: (result, view)}))
    assert copies["maps"] == (0 if cover else 6), "a head that does not see to it has its maps looked at"
    result, view = seen["black corner.png"]
    assert (result.score, result.decision, view) == (None, Decision.REVIEW, None)
    assert result.reason == "the model gave no finite score"
    result, view = seen["0.png"]
    assert result.decision is Decision.PASS
    assert view is not None
    assert np.isfinite(view.anomaly_map).all()
    assert view.nearest.shape == (CELLS, CELLS)


def test_batches_of_mixed_lines_ask_for_those_maps_alone_too(plant: Plant, copies: Counter[str]) -> None:
    use(plant, covered(head_graph()))

    class OneLane:
        worker = ScoringWorker(
            bundle=plant.bundle,
            engine=plant.engine,
            head=LINE,
            known=None,
            overlays=None,
            limits=image_limits(),
        )

    dispatch = Batched[OneLane](workers=1, batch=4)
    try:
        for item in FolderSource(plant.images).items():
            dispatch.put(OneLane(), item)
        outcomes = [outcome for _, outcome in dispatch.take(everything=True)]
    finally:
        dispatch.close()
    assert [outcome.result.status for outcome in outcomes] == [FileStatus.SCORED] * 5
    assert [outcome.result.decision for outcome in outcomes] == [Decision.PASS] * 4 + [Decision.REJECT]
    assert (copies["maps"], copies["rows"]) == (1, 0), "of the one whose regions are told"


@pytest.mark.gpu
def test_on_a_gpu_maps_stay_there_in_memory_that_is_used_again(
    backbone: BackboneArtefact, tmp_path: Path, copies: Counter[str]
) -> None:
    if not cuda_works():
        pytest.skip("needs a GPU that onnxruntime can use")
    graphs = {"caps": covered(head_graph()), "logs": covered(log_head())}
    fast = engine_with(backbone, tmp_path, Device.CUDA, **graphs)
    slow = engine_with(backbone, tmp_path, **graphs)
    images, places = pictures(8), []
    for _ in range(4):
        scores = fast.score("caps", images)
        held = scores[0].run.anomaly_map._held
        assert isinstance(held, ort.OrtValue)
        assert held.device_name() == "cuda"
        places.append(held.data_ptr())
        del held, scores
    assert len(set(places[1:])) == 1, "the arena gives the same memory out again"
    assert (copies["maps"], copies["rows"]) == (0, 0)
    got, expected = fast.score("caps", images).outputs(), slow.score("caps", images).outputs()
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    images[3, :8, :8] = 0
    assert [image.finite for image in fast.score("logs", images)] == [i != 3 for i in range(8)]
    assert SCORE_COVERS_MAP in fast._loaded["logs"]._session.get_modelmeta().custom_metadata_map
