"""A region of interest all the way: drawn, adapted with, exported, scored with, told and shown; and refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundles.bundle import Bundle, load_bundle
from deploy.engine.runtime import ScoringEngine
from flows.adapt import job as adapt
from flows.adapt import new_lines
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.calibrate import job as calibrate
from flows.calibrate.request import CalibrateRequest
from flows.open_backbone import open_backbone
from flows.score import job as score
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import require_image
from pipeline.settings import Device, load_settings
from tests.flows.adapted_home import score_request
from tests.flows.command import Command

SIZE, FAR = 128, 384
LOOK = [[[0, 0], [55.5, 0], [55.5, 96], [0, 96]]]


@pytest.fixture
def own_line(line: Path, tmp_path: Path) -> Path:
    """A line of 96 px images of this test alone."""
    return shutil.copytree(line, tmp_path / "caps")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """The left 56 of 96 pixels: a pixel that an edge crosses counts, as polygons."""
    path = tmp_path / "left.json"
    path.write_text(json.dumps({"width": 96, "height": 96, "look": LOOK}))
    return path


def request(line: Path, **changes: object) -> AdaptRequest:
    asked = {"line": "caps", "images": line, "learner": "memory_bank", "size": SIZE, "good": 3, "defects": 3}
    return AdaptRequest.asked(**(asked | changes))


def mask(path: Path, left: int, width: int = 96, height: int = 96) -> Path:
    image = np.zeros((height, width), np.uint8)
    image[:, :left] = 255
    assert cv2.imwrite(str(path), image)
    return path


def engine_of(bundle: Bundle) -> ScoringEngine:
    engine = ScoringEngine(
        open_backbone(DEFAULT_BACKBONE, bundle.manifest.spec.height, load_settings()).artefact, Device.CPU, threads=1
    )
    engine.add_head("caps", bundle.head_path, bundle.head_sha256)
    return engine


def test_a_defect_outside_changes_neither_score_nor_map_and_one_inside_is_found(
    own_line: Path, tmp_path: Path, home: Path
) -> None:
    """Of the file's pixels, to the digit: they are 200 px and more apart, which is as far as the backbone sees."""
    asked = request(own_line, learner="auto", region=mask(tmp_path / "third.png", 32), size=FAR)
    bundle = adapt.run(asked, load_settings()).bundle
    pixels = require_image(next((own_line / "test" / "good").iterdir()), bundle.manifest.preprocess).pixels
    outside, inside = pixels.copy(), pixels.copy()
    outside[150:210, 344:] = 255 - outside[150:210, 344:]
    inside[150:210, 24:84] = 255 - inside[150:210, 24:84]
    plain, of_outside, of_inside = engine_of(bundle).score("caps", np.stack([pixels, outside, inside]))
    assert of_outside.score == plain.score
    assert (of_outside.anomaly_map == plain.anomaly_map).all()
    assert of_inside.score > plain.score + 0.1
    row, column = np.unravel_index(of_inside.anomaly_map.argmax(), of_inside.anomaly_map.shape)
    assert 150 - 8 < 8 * row < 210
    assert 24 - 8 < 8 * column < 84
    floor = of_inside.anomaly_map[0, -1]
    assert (of_inside.anomaly_map[:, 16:] == floor).all(), "one low value outside"
    assert (plain.anomaly_map[:, 16:] == floor).all()
    assert floor < np.median(plain.anomaly_map[:, :16])


def test_a_bundle_tells_keeps_and_shows_its_region(own_line: Path, drawn: Path, home: Path) -> None:
    settings = load_settings()
    result = adapt.run(request(own_line, region=drawn, target_false_reject_rate=0.5), settings)
    assert "58% of each image is looked at." in result.remarks
    bundle = load_bundle(result.bundle.path)
    assert bundle.manifest.region is not None
    assert bundle.manifest.region.share == pytest.approx(56 / 96)
    assert bundle.region is not None
    assert bundle.region.mask.shape == (96, 96)
    assert bundle.region.mask[:, :56].all()
    assert not bundle.region.mask[:, 56:].any()
    told = "58% of the image; only whether it is of the line is told by the whole of it"
    assert told in bundle.card_path.read_text()
    scored = score.run(score_request(own_line, line="caps"), settings)
    assert told in scored.report.read_text()
    again = calibrate.run(CalibrateRequest(line="caps", images=own_line / "test"), settings).bundle
    assert again.manifest.region == bundle.manifest.region
    assert again.region is not None
    assert (again.region.mask == bundle.region.mask).all()


def test_the_region_in_a_lines_folder_is_taken_and_said(own_line: Path, home: Path) -> None:
    mask(own_line / "region.png", 60)
    result = adapt.run(request(own_line), load_settings())
    assert "62% of each image is looked at, as region.png in the line's folder says." in result.remarks
    assert not any("not used" in remark for remark in result.remarks)


def test_new_lines_take_the_region_in_their_folder(own_line: Path, home: Path, tmp_path: Path) -> None:
    mask(own_line / "region.png", 60)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    shutil.move(own_line, incoming / "caps")
    settings = load_settings()
    asked = AdaptNewLinesRequest.asked(incoming=incoming, learner="memory_bank", size=SIZE, good=2, defects=1)
    (made,) = new_lines.run(asked, settings).lines
    assert made.problem is None or made.problem.startswith("held: "), "so small a model may miss all defects"
    (version,) = (settings.home / "lines").rglob("region.png")
    assert load_bundle(version.parent).manifest.region is not None


def test_defects_wholly_outside_are_told_and_left_out(line: Path, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "two"
    for place in ("good", "defect", "masks"):
        (folder / place).mkdir(parents=True)
    goods = sorted((line / "train" / "good").iterdir())
    for image in goods[:2]:
        shutil.copy(image, folder / "good")
    for name, left in (("inside", 10), ("outside", 80)):
        image, drawn = cv2.imread(str(goods[3])), np.zeros((96, 96), np.uint8)
        assert image is not None
        image[40:50, left : left + 10] = 255 - image[40:50, left : left + 10]
        drawn[40:50, left : left + 10] = 255
        cv2.imwrite(str(folder / "defect" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), drawn)
    region = mask(tmp_path / "left.png", 48)
    result = adapt.run(request(folder, region=region, learner="auto"), load_settings())
    assert (result.good, result.defects) == (2, 1)
    said = "1 defective image is left out, as the defect lies wholly outside the region: outside.png."
    assert said in result.remarks
    left_out = result.bundle.manifest.support.left_out
    assert left_out is not None
    assert left_out["defective outside the region"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"width": 96, "height": 96, "look": []}',
            "polygons of what to look at, or to ignore, in .*, got none: draw one",
        ),
        (
            '{"width": 96, "height": 96, "ignore": [[[0,0],[96,0],[96,96],[0,96]]]}',
            "something to look at .*, got an empty one: draw white",
        ),
        (
            '{"width": 96, "height": 48, "look": [[[0,0],[96,0],[96,48]]]}',
            "the proportions of the line's images .*, got .* for images of .*: draw it on",
        ),
        ('{"width": 96, "height": 96, "look": [[[0,0],[99,0],[9,9]]]}', "inside the image, .*, got a point at 99, 0"),
        (
            '{"width": 96, "height": 96, "look": [[[0,0],[9,0]]]}',
            r'polygons in .*, got \[\[0, 0\], \[9, 0\]\] as look.0: write {"width".* three points or more',
        ),
        (
            '{"width": 96, "height": 96, "look": [[[0,0],[12,0],[12,12],[0,12]]]}',
            "at least 32 cells of the 16 x 16 .*got",
        ),
        ("[", "polygons in .*, got no JSON: write"),
    ],
)
def test_a_region_that_cannot_be_used_is_one_sentence(
    own_line: Path, linewise: Command, tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "region.json"
    path.write_text(content)
    code, _, err = linewise(
        "adapt", "caps", own_line, "--region", path, "--learner", "memory_bank", "--size", f"{SIZE}"
    )
    assert code == 2
    assert "Traceback" not in err
    assert re.search(message, " ".join(err.split())), err


def test_two_regions_in_one_folder_are_refused(own_line: Path, linewise: Command) -> None:
    mask(own_line / "region.png", 60)
    (own_line / "region.json").write_text('{"width": 96, "height": 96, "ignore": []}')
    code, _, err = linewise("adapt", "caps", own_line)
    assert code == 2
    assert "expected one region of interest, got region.png and region.json" in " ".join(err.split())
