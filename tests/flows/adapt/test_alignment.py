"""Alignment all the way: asked for, adapted with, kept in the bundle, scored with, told; and refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundles.bundle import load_bundle
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.score import job as score
from linewise import Line
from pipeline.errors import ConfigError
from pipeline.imaging.alignment import AlignMode
from pipeline.settings import load_settings
from tests.flows.adapted_home import score_request

SIZE = 128
DENT = (70, 60)


def plate(seed: int, turn: float = 0.0, shift: int = 0, *, dent: bool = False) -> NDArray[np.uint8]:
    """A plate of 160 px with two holes, uint8 BGR (192, 256, 3), turned about the middle and moved to the right."""
    rng = np.random.default_rng(seed)
    image = np.full((192, 256, 3), 40, np.uint8)
    cv2.rectangle(image, (48, 40), (208, 150), (150, 160, 170), -1)
    cv2.rectangle(image, (48, 120), (90, 150), (40, 40, 40), -1)
    cv2.circle(image, (180, 70), 12, (60, 60, 60), -1)
    if dent:
        cv2.circle(image, DENT, 9, (40, 40, 220), -1)
    matrix = cv2.getRotationMatrix2D((128, 96), turn, 1)
    matrix[0, 2] += shift
    image = cv2.warpAffine(image, matrix, (256, 192), borderMode=cv2.BORDER_REPLICATE)
    return cv2.add(image.astype(np.uint8), rng.integers(0, 8, image.shape, np.uint8)).astype(np.uint8)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good plates that lie askew by up to 10 degrees."""
    root = tmp_path_factory.mktemp("plates")
    for folder in ("good", "defect", "new/test"):
        (root / folder).mkdir(parents=True)
    for seed in range(6):
        turn = float(np.random.default_rng(seed).uniform(-10, 10))
        assert cv2.imwrite(str(root / "good" / f"{seed}.png"), plate(seed, turn))
    assert cv2.imwrite(str(root / "defect" / "dent.png"), plate(7, dent=True))
    assert cv2.imwrite(str(root / "new" / "test" / "dent.png"), plate(8, 12, 15, dent=True))
    assert cv2.imwrite(str(root / "new" / "test" / "lines.png"), np.tile(np.array([[40, 200]], np.uint8), (192, 128)))
    return root


def request(images: Path, **changes: object) -> AdaptRequest:
    asked = {"line": "plates", "images": images, "learner": "memory_bank", "size": SIZE, "align": "similarity"}
    return AdaptRequest.asked(**(asked | changes))


def test_a_moved_part_is_marked_where_it_is_and_what_cannot_be_aligned_is_reviewed(plates: Path, home: Path) -> None:
    result = adapt.run(request(plates), load_settings())
    assert any(remark.startswith("Aligned to one of them, good images correlate") for remark in result.remarks)
    bundle = load_bundle(result.bundle.path)
    kept = bundle.manifest.preprocess.alignment
    assert kept is not None
    assert kept.mode is AlignMode.SIMILARITY
    assert "aligned in place, turn and size to a part" in bundle.card_path.read_text()

    done = score.run(score_request(plates / "new", line="plates"), load_settings())
    rows = {Path(row["path"]).name: row for row in json.loads(done.json_path.read_text())["rows"]}
    assert rows["lines.png"]["decision"] == "REVIEW"
    assert rows["lines.png"]["reason"].startswith("unlike the line: not aligned: ")
    assert rows["lines.png"]["score"] is not None, "scored as it was taken"
    assert rows["dent.png"]["decision"] == "REJECT"
    matrix = cv2.getRotationMatrix2D((128, 96), 12, 1)
    x, y = matrix[:, :2] @ DENT + matrix[:, 2] + (15, 0)
    left, top, width, height = rows["dent.png"]["regions"][0]["box"]
    assert left - 4 < x < left + width + 4
    assert top - 4 < y < top + height + 4

    with Line.open("plates") as line:
        found = line.score(plates / "new" / "test" / "dent.png")
    full = found.full_map()
    assert full is not None
    row, column = np.unravel_index(full.argmax(), full.shape)
    assert abs(column - x) < 16
    assert abs(row - y) < 16


def test_a_line_that_asks_for_none_is_as_before(plates: Path, home: Path) -> None:
    bundle = adapt.run(request(plates, align="none"), load_settings()).bundle
    assert bundle.manifest.preprocess.alignment is None


def test_alignment_without_a_part_or_beside_a_region_is_refused(plates: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 255, (96, 96, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / "good" / f"{seed}.png"), noise)
    with pytest.raises(ConfigError, match="one part that stands out from its background"):
        adapt.run(request(tmp_path), load_settings())
    region = tmp_path / "region.png"
    assert cv2.imwrite(str(region), np.full((192, 256), 255, np.uint8))
    with pytest.raises(ConfigError, match="a region of interest or alignment"):
        adapt.run(request(plates, region=region), load_settings())
