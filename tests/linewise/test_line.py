"""The Python face: arrays in, decisions out, as `linewise score` makes them of the same files."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import linewise
from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice
from linewise import ConfigError, Decision, DeviceError, ImageError, Line, Result
from tests.checkout import REPOSITORY
from tests.deploy.scoring_plant import LINE
from tests.parts.plant import bundle_files, head_graph, make_draft, write_image, write_plant

SEEN = 48


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose line's score is the brightest cell: REVIEW from 0.4, REJECT from 0.6."""
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LINEWISE_DEVICE", raising=False)
    write_plant(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def opened(home: Path) -> Iterator[Line]:
    with Line.open(LINE, device="cpu") as line:
        yield line


def rgb(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def pictures(folder: Path, count: int = 24) -> list[Path]:
    return [write_image(folder / f"{seed:03}.png", brightness=10 * seed, seed=seed) for seed in range(count)]


def said(result: Result) -> tuple[Any, ...]:
    """All that a result says, to be compared bit for bit."""
    told = result.map
    return (
        result.score,
        result.p_value,
        result.decision,
        result.reason,
        result.regions,
        result.size,
        None if told is None else told.tobytes(),
    )


def test_the_face_is_what_it_was() -> None:
    assert linewise.__all__ == [
        "BundleError",
        "ConfigError",
        "Decision",
        "DeviceError",
        "ImageError",
        "Line",
        "LineError",
        "LinewiseError",
        "Region",
        "Result",
        "Threshold",
    ]
    assert {name: list(inspect.signature(getattr(Line, name)).parameters) for name in METHODS} == METHODS
    fields = ["score", "p_value", "decision", "reason", "regions", "size", "kind", "kind_probability"]
    assert [name for name in Result.__dataclass_fields__ if not name.startswith("_")] == fields


METHODS = {
    "open": ["source", "version", "device", "home"],
    "adapt": ["name", "good", "defects", "masks", "colour_order", "device", "home", "options"],
    "score": ["self", "image", "colour_order"],
    "score_batch": ["self", "images", "colour_order"],
    "close": ["self"],
}


def test_scoring_loads_neither_torch_nor_prefect(home: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "bright.png", brightness=240)
    code = (
        "import sys, cv2, linewise\n"
        f"result = linewise.Line.open({LINE!r}, device='cpu').score(cv2.imread({str(image)!r}), colour_order='bgr')\n"
        "print(result.decision.value, *({'torch', 'prefect', 'model_zoo', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "REJECT"), done.stderr


def test_an_image_is_decided_as_its_score_says(opened: Line) -> None:
    image = np.zeros((SEEN, SEEN, 3), np.uint8)
    assert opened.score(image).decision is Decision.PASS
    image[: SEEN // 2, : SEEN // 2] = 255
    result = opened.score(image)
    assert (result.decision, result.score, result.size) == (Decision.REJECT, 1.0, (SEEN, SEEN))
    assert result.regions == ()  # the map's pixel threshold is 1.5, and nothing reaches it
    assert result.map is not None
    assert (result.map.dtype, result.map.shape) == (np.float32, (4, 4))
    full = result.full_map()
    assert full is not None
    assert (full.dtype, full.shape) == (np.float32, (SEEN, SEEN))
    assert (opened.threshold.review, opened.threshold.reject) == (0.4, 0.6)
    assert (opened.name, opened.version, opened.device) == (LINE, "v1", "cpu")
    assert opened.card.startswith(f"# {LINE}, version v1")


def test_threads_get_what_one_thread_gets(opened: Line, tmp_path: Path) -> None:
    images = [rgb(path) for path in pictures(tmp_path / "images")]
    alone = [said(opened.score(image)) for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert [said(result) for result in pool.map(opened.score, images * 4)] == alone * 4
    assert [said(result) for result in opened.score_batch(images)] == alone
    assert opened.score_batch([]) == []


def test_a_batch_of_an_accelerator_gives_the_same(
    opened: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose batches this CPU takes here; the last one is short."""
    images = [rgb(path) for path in pictures(tmp_path / "images", 10)]
    expected = [said(opened.score(image)) for image in images]
    monkeypatch.setattr(ResolvedDevice, "batch_size", 4)
    assert [said(result) for result in opened.score_batch(images)] == expected


def test_an_array_its_file_and_its_bytes_are_one_image(opened: Line, tmp_path: Path) -> None:
    path = write_image(tmp_path / "bright.png", brightness=130, seed=5, size=90)
    expected = said(opened.score(path))
    assert said(opened.score(str(path))) == expected
    assert said(opened.score(path.read_bytes())) == expected
    assert said(opened.score(rgb(path))) == expected
    assert said(opened.score(cv2.imread(str(path)), colour_order="bgr")) == expected
    assert said(opened.score(np.asfortranarray(rgb(path)))) == expected


def test_colours_are_not_taken_for_one_another(home: Path) -> None:
    """The nearest row of this head is the brightest colour."""
    red = np.zeros((SEEN, SEEN, 3), np.uint8)
    red[..., 0] = 200
    with Line.open(LINE, device="cpu") as line:
        assert line._see(red, bgr=False).pixels[0, 0].tolist() == [200, 0, 0]
        assert line._see(red, bgr=True).pixels[0, 0].tolist() == [0, 0, 200]


def test_grey_and_deep_images(home: Path) -> None:
    registry = Registry(home)
    draft = make_draft(
        version="deep",
        onnx_sha256=registry.live(LINE).manifest.backbone.onnx_sha256,
        review=0.4,
        reject=0.6,
        white_level=4095,
    )
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph()})
    with Line.open(LINE, version="deep", device="cpu") as deep:
        assert deep.score(np.full((SEEN, SEEN), 4095, np.uint16)).score == 1.0
        with pytest.raises(ImageError, match="expected an image of more than 8 bits"):
            deep.score(np.zeros((SEEN, SEEN), np.uint8))
        with pytest.raises(ImageError, match="expected pixels up to the line's white level, 4095, got 4096"):
            deep.score(np.full((SEEN, SEEN), 4096, np.uint16))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((SEEN, SEEN), np.float32), r"got float32 \(48, 48\): pass the camera's own values"),
        (np.zeros((1, SEEN, SEEN, 3), np.uint8), r"got uint8 \(1, 48, 48, 3\): pass one image without a batch axis"),
        (np.zeros((SEEN, SEEN, 4), np.uint8), r"got uint8 \(48, 48, 4\): .*without alpha"),
        (np.zeros((3, SEEN, SEEN), np.uint8), "its channels last"),
        (np.zeros((0, SEEN), np.uint8), "got an empty one"),
        (np.zeros((8, SEEN), np.uint8), "expected at least 16 pixels on each side, got 8 x 48 pixels"),
        ([[1, 2], [3, 4]], "got list: convert it with numpy.asarray"),
        (bytearray(b"no image"), "got bytearray: pass a file's contents as bytes, its pixels as an array"),
        (memoryview(b"no image"), "got memoryview: pass a file's contents as bytes"),
        (b"no image", "expected "),
        ("nowhere.png", "got no such file in nowhere.png"),
    ],
)
def test_what_is_no_image_is_one_sentence(opened: Line, image: Any, told: str) -> None:
    with pytest.raises(ImageError, match=told) as raised:
        opened.score(image)
    assert "\n" not in str(raised.value)
    with pytest.raises(ImageError, match=r"\(image 1\)"):
        opened.score_batch([np.zeros((SEEN, SEEN, 3), np.uint8), image])


def test_an_array_of_paths_is_several_images(opened: Line, tmp_path: Path) -> None:
    paths = pictures(tmp_path / "images", 2)
    expected = [said(result) for result in opened.score_batch(paths)]
    arrays: list[Any] = [np.array([str(path) for path in paths]), np.array(paths, object)]
    for array in arrays:
        assert [said(result) for result in opened.score_batch(array)] == expected


def test_several_images_are_not_one_taken_apart(opened: Line) -> None:
    image = np.full((SEEN, SEEN, 3), 130, np.uint8)
    for one in (image, image[..., 0], "bright.png", Path("bright.png"), b"no image"):
        with pytest.raises(ConfigError, match=r"expected a list of images, got .*: put it into a list"):
            opened.score_batch(one)  # type: ignore[arg-type]
    for several in (np.stack([image, image]), np.stack([image[..., 0]] * 2)):
        assert [said(result) for result in opened.score_batch(several)] == [said(opened.score(several[0]))] * 2


def test_what_cannot_be_opened_is_one_sentence(home: Path, opened: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected a line of the registry"):
        Line.open("mvtec/screw", device="cpu")
    with pytest.raises(ConfigError, match=r"pass the folder as pathlib\.Path"):
        Line.open(str(home), device="cpu")
    with pytest.raises(ConfigError, match="expected a device of cpu, cuda, tensorrt, auto, got 'gpu'"):
        Line.open(LINE, device="gpu")
    with pytest.raises(ConfigError, match="expected a colour order of rgb or bgr, got 'RGB'"):
        opened.score(np.zeros((SEEN, SEEN, 3), np.uint8), colour_order="RGB")  # type: ignore[arg-type]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError):
        Line.open(LINE, device="cuda")
    monkeypatch.setenv("LINEWISE_DEVICE", "cuda")
    with pytest.raises(DeviceError):  # what the machine is set to is never the CPU instead
        Line.open(LINE)


def test_a_closed_line_says_so(opened: Line) -> None:
    opened.close()
    with pytest.raises(ConfigError, match="got one that was closed: open it again"):
        opened.score(np.zeros((SEEN, SEEN, 3), np.uint8))


def test_an_open_line_stays_with_its_version_after_a_promotion(home: Path, opened: Line) -> None:
    registry, image = Registry(home), np.full((SEEN, SEEN), 255, np.uint8)
    draft = make_draft(version="v2", onnx_sha256=registry.live(LINE).manifest.backbone.onnx_sha256, reject=3, review=3)
    registry.add(draft, {**bundle_files(), "head.onnx": head_graph(scale=0.5 / 255)})
    registry.promote(LINE, "v2")
    assert opened.score(image).decision is Decision.REJECT
    with Line.open(LINE, device="cpu") as now:
        assert (now.version, now.score(image).decision) == ("v2", Decision.PASS)


def test_an_exported_folder_scores_alike(home: Path, opened: Line, tmp_path: Path) -> None:
    folder = Registry(home).pack(LINE, tmp_path / "pack")
    image = rgb(write_image(tmp_path / "bright.png", brightness=150))
    with Line.open(folder, device="cpu") as packed:
        assert said(packed.score(image)) == said(opened.score(image))
    with pytest.raises(ConfigError, match="either a version or a bundle folder"):
        Line.open(folder, version="v1")
