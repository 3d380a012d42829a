"""One batch, several lines: each image by its own line's head, in the order of the input, whatever the batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from deploy.engine.batches import is_out_of_memory, padded, row_window
from deploy.engine.runtime import ScoringEngine
from pipeline.errors import DeviceError
from pipeline.features import BackboneArtefact
from pipeline.settings import Device
from tests.parts.gpu import cuda_works
from tests.parts.plant import SIZE, head_graph, write_backbone

LINES = {"caps": 1.0, "vials": 2.0, "corks": 3.0}
NAMES = ["vials", "caps", "corks", "caps", "vials", "caps", "corks"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[BackboneArtefact, dict[str, Path]]:
    """A backbone, and a head for each line that scales its score in its own way."""
    folder = tmp_path_factory.mktemp("mixed")
    heads = {line: folder / f"{line}.onnx" for line in LINES}
    for line, path in heads.items():
        path.write_bytes(head_graph(scale=LINES[line]))
    return write_backbone(folder / "backbone"), heads


Make = Callable[..., ScoringEngine]


@pytest.fixture
def make(parts: tuple[BackboneArtefact, dict[str, Path]]) -> Make:
    def engine(device: str = "cpu", **options) -> ScoringEngine:
        made = ScoringEngine(parts[0], device, **options)
        for line, path in parts[1].items():
            made.add_head(line, path)
        return made

    return engine


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 7, 32])
def test_each_image_by_its_own_head_in_the_order_of_the_input(make: Make, batch: int | None) -> None:
    engine, images = make(batch=batch), pictures(len(NAMES))
    mixed = engine.score_mixed(NAMES, images)
    alone = make()
    for i, name in enumerate(NAMES):
        expected = alone.score(name, images[i : i + 1])
        assert mixed.image_score[i] == expected.image_score[0]
        np.testing.assert_array_equal(mixed.anomaly_map[i], expected.anomaly_map[0])
        np.testing.assert_array_equal(mixed.nearest[i], expected.nearest[0])
    assert mixed.image_score[1] < mixed.image_score[0] < mixed.image_score[2]  # the scales are those of the heads


def test_images_without_a_name_only_fill_the_batch(make: Make) -> None:
    engine, images = make(batch=4), pictures(3)
    filled = engine.score_mixed(["corks", "caps"], images)
    assert filled.image_score.shape == (2,)
    np.testing.assert_array_equal(filled.image_score, engine.score_mixed(["corks", "caps"], images[:2]).image_score)
    for names in (["caps"] * 4, []):
        with pytest.raises(ValueError, match=r"1\.\.3 names"):
            engine.score_mixed(names, images)
    with pytest.raises(KeyError, match="'unknown'"):
        engine.score_mixed(["caps", "unknown", "caps"], images)


class SmallMemory:
    """The engine's own extractor on a device whose memory holds `room` images."""

    def __init__(self, engine: ScoringEngine, room: int) -> None:
        self.asked: list[int] = []
        run = engine.extractor.run

        def limited(images: NDArray[np.uint8]) -> list[ort.OrtValue]:
            self.asked.append(len(images))
            if len(images) > room:
                raise RuntimeError(
                    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"
                )
            return run(images)

        engine.extractor.run = limited  # type: ignore[method-assign]


def test_out_of_memory_halves_the_batch_and_says_so_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    engine, images = make(batch=16), np.concatenate([pictures(16)] * 2)
    names = [NAMES[i % len(NAMES)] for i in range(len(images))]
    expected = make().score_mixed(names, images)
    memory = SmallMemory(engine, room=5)
    with caplog.at_level(logging.WARNING, logger="deploy.engine.runtime"):
        got = engine.score_mixed(names, images)
        again = engine.score_mixed(names, images)
    np.testing.assert_array_equal(got.image_score, expected.image_score)
    np.testing.assert_array_equal(again.anomaly_map, expected.anomaly_map)
    assert memory.asked == [16, 8] + [4] * 8 + [4] * 8  # one shape again, and no second try of what was too large
    assert [record.message for record in caplog.records] == [
        "cpu has no memory for 16 images at once: 8 now",
        "cpu has no memory for 8 images at once: 4 now",
    ]


def test_memory_for_no_image_is_one_sentence(make: Make) -> None:
    engine = make(batch=4)
    SmallMemory(engine, room=0)
    with pytest.raises(DeviceError, match=r"memory for one image.*Failed to allocate.*free its memory"):
        engine.score_mixed(NAMES, pictures(len(NAMES)))


def test_another_failure_is_not_taken_for_memory(make: Make) -> None:
    engine = make(batch=4)

    def broken(_images: NDArray[np.uint8]) -> list[ort.OrtValue]:
        raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")

    engine.extractor.run = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        engine.score("caps", pictures(4))


@pytest.mark.parametrize(
    ("message", "memory"),
    [
        ("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 2147483648", True),
        ("Available memory of 1024 is smaller than requested bytes of 4096", True),
        ("CUDA failure 2: out of memory ; GPU=0", True),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", True),
        ("std::bad_alloc", True),
        ("CUDA failure 209: no kernel image is available for execution on the device", False),
        ("Got invalid dimensions for input: images", False),
    ],
)
def test_what_is_taken_for_out_of_memory(message: str, memory: bool) -> None:
    assert is_out_of_memory(RuntimeError(message)) is memory


def test_heads_see_few_shapes() -> None:
    windows = [row_window(start, count, 32) for start in range(32) for count in range(1, 33 - start)]
    assert {size for _, size in windows} == {1, 2, 4, 8, 16, 32}
    pairs = [(start, count) for start in range(32) for count in range(1, 33 - start)]
    for (start, count), (first, size) in zip(pairs, windows, strict=True):
        assert 0 <= first <= start
        assert start + count <= first + size <= 32
    assert row_window(0, 3, 3) == (0, 3)


def test_the_tail_is_padded_and_a_full_batch_is_not_copied() -> None:
    images = pictures(2)
    assert padded(images, 2) is images
    np.testing.assert_array_equal(padded(images, 5)[:2], images)
    assert padded(images, 5).shape == (5, SIZE, SIZE, 3)


def test_heads_share_one_arena(make: Make) -> None:
    # With an arena each, a head keeps the memory of its last run; 40 of them kept 400 MB on real heads.
    options = [head._session.get_session_options() for head in make()._loaded.values()]
    assert {option.get_session_config_entry("session.use_env_allocators") for option in options} == {"1"}


@pytest.mark.gpu
def test_mixed_batches_on_a_gpu_score_as_on_the_cpu(make: Make) -> None:
    if not cuda_works():
        pytest.skip("needs a GPU that onnxruntime can use")
    images = pictures(len(NAMES))
    gpu, cpu = make(Device.CUDA, batch=4).score_mixed(NAMES, images), make().score_mixed(NAMES, images)
    np.testing.assert_allclose(gpu.image_score, cpu.image_score, rtol=1e-4)
    np.testing.assert_allclose(gpu.anomaly_map, cpu.anomaly_map, rtol=1e-4)
