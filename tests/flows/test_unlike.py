"""An image that is none of the line's goes to a person with the reason, from adaptation to the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.score import job as score
from flows.score import plant_job
from flows.score.request import ScorePlantRequest
from pipeline.settings import Device, load_settings
from pipeline.synthetic.lines import generate_line, write_line
from tests.flows.adapted_home import score_request
from tests.flows.command import Command

SIDE = 128
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated line whose images all have one size."""
    return write_line(tmp_path_factory.mktemp("own"), 7, good=8, test_good=6, defects=6, size=SIDE)


def adapt_to(folder: Path, **changes: Any) -> adapt.AdaptResult:
    request = AdaptRequest.asked(line="caps", images=folder, size=SIDE, good=6, defects=0, **changes)
    return adapt.run(request, load_settings())


def a_good_one(own: Path) -> Image:
    image = cv2.imread(str(next((own / "test" / "good").iterdir())), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


def rows_of(images: Path) -> dict[str, dict[str, Any]]:
    """The rows of a run by the file's stem."""
    result = score.run(score_request(images, line="caps", images=images), load_settings())
    return {row["path"].removesuffix(".png"): row for row in json.loads(result.json_path.read_text())["rows"]}


def half(image: Image, value: int) -> Image:
    cut = image.copy()
    cut[SIDE // 2 :] = value
    return cut


def stuck(image: Image) -> Image:
    stuck = image.copy()
    stuck[..., 2] = 0
    return stuck


FAILURES: dict[str, tuple[Callable[[Image], Image], str]] = {
    "black": (np.zeros_like, "100% of the image is black"),
    "lens_cap": (lambda image: np.random.default_rng(0).integers(0, 9, image.shape, np.uint8), "of the image is black"),
    "overexposed": (lambda image: np.clip(4 * image.astype(int) + 160, 0, 255).astype(np.uint8), "the image is white"),
    "half_black": (lambda image: half(image, 0), "of the image is black"),
    "half_grey": (lambda image: half(image, 128), "of the image is of one value"),
    "red_stuck": (stuck, "too little red"),
    "defocused": (lambda image: cv2.GaussianBlur(image, (0, 0), 8).astype(np.uint8), "it is blurred"),
    "noise": (
        lambda image: np.clip(image + np.random.default_rng(1).normal(0, 60, image.shape), 0, 255).astype(np.uint8),
        "another product, or the camera",
    ),
}


def test_camera_failures_and_another_product_are_looked_at(own: Path, home: Path, tmp_path: Path) -> None:
    adapt_to(own)
    shown, good = tmp_path / "shown", a_good_one(own)
    shown.mkdir()
    for name, (fail, _) in FAILURES.items():
        assert cv2.imwrite(str(shown / f"{name}.png"), fail(good))
    other = generate_line(1, size=SIDE).good(np.random.default_rng(0)).image
    assert cv2.imwrite(str(shown / "other.png"), other[..., ::-1])
    rows = rows_of(shown)
    reasons = {name: why for name, (_, why) in FAILURES.items()} | {"other": ""}
    assert {name: row["decision"] for name, row in rows.items()} == dict.fromkeys(reasons, "REVIEW")
    for name, why in reasons.items():
        assert rows[name]["reason"].startswith("unlike the line: "), rows[name]
        assert why in rows[name]["reason"], rows[name]
        assert rows[name]["score"] is not None


def board(seed: int) -> Image:
    """Black and white, cut anywhere."""
    cells = 255 * np.random.default_rng(seed).integers(0, 2, (SIDE // 16, SIDE // 16, 1), dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(cells.repeat(16, 0).repeat(16, 1), (SIDE, SIDE, 3)))


def test_glare_on_boards_is_looked_at_and_less_light_is_not(home: Path, tmp_path: Path) -> None:
    folder, shown = tmp_path / "boards", tmp_path / "shown"
    (folder / "good").mkdir(parents=True)
    shown.mkdir()
    for index in range(6):
        assert cv2.imwrite(str(folder / "good" / f"{index}.png"), board(index))
    glare, darker = (np.clip(gain * board(9) + more, 0, 255) for gain, more in ((4.0, 60), (0.8, 0)))
    assert cv2.imwrite(str(shown / "glare.png"), glare)
    assert cv2.imwrite(str(shown / "darker.png"), darker)
    bundle = adapt_to(folder).bundle
    rows = rows_of(shown)
    assert rows["glare"]["decision"] == "REVIEW"
    assert "of a brightness that is new: another exposure" in rows["glare"]["reason"]
    assert rows["darker"]["reason"] is None
    assert "another brightness" in bundle.card_path.read_text()


def test_images_of_the_line_are_judged_by_their_scores(own: Path, home: Path) -> None:
    bundle = adapt_to(own).bundle
    rows = rows_of(own / "test")
    assert len(rows) == 12
    assert [row["reason"] for row in rows.values()] == [None] * len(rows)
    assert "REVIEW as unlike the line" in bundle.card_path.read_text()


def test_other_proportions_are_looked_at_and_another_size_or_colour_is_told_once(
    own: Path, home: Path, tmp_path: Path, linewise: Command
) -> None:
    adapt_to(own)
    shown, good = tmp_path / "shown" / "caps", a_good_one(own)
    shown.mkdir(parents=True)
    assert cv2.imwrite(str(shown / "wide.png"), cv2.resize(good, (2 * SIDE, SIDE)))
    for name in ("large", "large_too"):
        assert cv2.imwrite(str(shown / f"{name}.png"), cv2.resize(good, (2 * SIDE, 2 * SIDE)) + (name == "large_too"))
    assert cv2.imwrite(str(shown / "mono.png"), cv2.cvtColor(good, cv2.COLOR_BGR2GRAY))
    result = score.run(score_request(shown, line="caps", images=shown), load_settings())
    rows = {Path(row["path"]).stem: row for row in json.loads(result.json_path.read_text())["rows"]}
    assert rows["wide"]["decision"] == "REVIEW"
    assert rows["wide"]["reason"] == (
        "unlike the line: 128 x 256 pixels have other proportions than 128 x 128 pixels, and are squashed otherwise"
    )
    assert rows["large"]["reason"] is None
    size = "caps: Some images have another size than the 128 x 128 pixels that the line was adapted from"
    colour = "caps: Some images are mono, and the line was adapted from colour ones: set the camera as it was."
    assert sum(remark.startswith(size) for remark in result.remarks) == 1
    assert result.remarks.count(colour) == 1
    assert colour in result.report.read_text()
    plant = plant_job.run(ScorePlantRequest(images=shown.parent, device=Device.CPU, workers=1), load_settings())
    assert plant.remarks == (), "these contents have their rows: nothing was decoded"
    assert cv2.imwrite(str(shown / "mono.png"), cv2.cvtColor(good, cv2.COLOR_BGR2GRAY) + 1)
    plant = plant_job.run(ScorePlantRequest(images=shown.parent, device=Device.CPU, workers=1), load_settings())
    assert plant.remarks == (colour,)


def test_a_support_of_several_proportions_or_colours_is_told_of(own: Path, home: Path, tmp_path: Path) -> None:
    folder, good = tmp_path / "line", a_good_one(own)
    (folder / "good").mkdir(parents=True)
    for index, width in enumerate((SIDE, SIDE + 40, SIDE)):
        assert cv2.imwrite(str(folder / "good" / f"{index}.png"), cv2.resize(good, (width, SIDE)) + index)
    assert cv2.imwrite(str(folder / "good" / "mono.png"), cv2.cvtColor(good, cv2.COLOR_BGR2GRAY))
    result = adapt_to(folder)
    assert any("are 1.00 to 1.31 times as wide as high" in remark for remark in result.remarks)
    assert any(remark.startswith("Some images are mono and some in colour") for remark in result.remarks)
    assert result.bundle.manifest.likeness is not None
    assert result.bundle.manifest.likeness.aspects is None
