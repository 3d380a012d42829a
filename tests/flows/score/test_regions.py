"""Regions of flagged images, all the way: from a file's pixels to rows, store, report and COCO."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from flows.score import job
from flows.score.request import ScoreRequest
from pipeline.imaging.images import read_native
from pipeline.imaging.masks import read_mask
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings
from tests.flows.command import Command
from tests.parts.image_files import exif_block, jpeg_with_exif
from tests.parts.plant import bundle_files, head_graph, make_draft, write_image, write_plant

LINE = "mvtec/pill"
HEIGHT, WIDTH = 120, 320
LARGE, SMALL = (160, 60, 160, 60), (0, 0, 80, 30)
"""Left, top, width and height of two bright spots, each whole cells of the head's 4 x 4."""


@pytest.fixture
def images(home: Path, tmp_path: Path) -> Path:
    """A part with two spots, upright and as a JPEG that its EXIF turns, and one that passes; a line in millimetres."""
    registry = write_plant(home)
    artefact = registry.live(LINE).manifest.backbone
    draft = make_draft(version="v2", onnx_sha256=artefact.onnx_sha256, review=0.4, reject=0.6)
    threshold = replace(draft.threshold, pixel=0.5, millimetres_per_pixel=0.1)
    registry.add(draft.model_copy(update={"threshold": threshold}), {**bundle_files(), "head.onnx": head_graph()})
    registry.promote(LINE, "v2")
    part = np.full((HEIGHT, WIDTH, 3), 8, np.uint8)
    for left, top, width, height in (LARGE, SMALL):
        part[top : top + height, left : left + width] = 250
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "a_upright.png"), part)
    stored = np.ascontiguousarray(np.rot90(part))  # EXIF 6: to be turned clockwise by who shows it
    jpeg = simplejpeg.encode_jpeg(stored, quality=98, colorspace="RGB")
    (folder / "b_turned.jpg").write_bytes(jpeg_with_exif(jpeg, exif_block(6)))
    write_image(folder / "c_passes.png", brightness=20)
    return folder


def score(images: Path) -> job.ScoreResult:
    return job.run(ScoreRequest(line=LINE, images=str(images), workers=1), load_settings())


def rows_of(result: job.ScoreResult) -> list[dict[str, Any]]:
    return json.loads(result.json_path.read_text())["rows"]


def test_a_flagged_image_tells_where_in_the_pixels_that_people_see(images: Path) -> None:
    assert read_native(images / "b_turned.jpg").shape[:2] == (HEIGHT, WIDTH)
    upright, turned, passed = rows_of(score(images))
    assert (upright["decision"], passed["decision"], passed["regions"]) == ("REJECT", "PASS", [])
    for row in (upright, turned):
        large, small = row["regions"]
        assert large["box"] == pytest.approx(LARGE, abs=11)  # of a cell of 80 x 30 pixels an eighth
        assert small["box"] == pytest.approx(SMALL, abs=11)
        assert large["area"] == pytest.approx(160 * 60, rel=0.15)
        assert large["area_mm2"] == pytest.approx(large["area"] / 100, rel=1e-3)
        assert 0.5 < large["mean"] < large["peak"] <= 1.0
        assert min(x for x, _ in large["contour"]) == large["box"][0]


def test_rows_store_and_report_tell_the_same_now_and_of_what_was_scored_before(images: Path) -> None:
    first, again = score(images), score(images)
    assert again.summary.counts.skipped == 3
    assert [row["regions"] for row in rows_of(first)] == [row["regions"] for row in rows_of(again)]
    with first.csv_path.open(newline="") as file:
        upright, _, passed = csv.DictReader(file)
    largest = rows_of(first)[0]["regions"][0]
    assert (upright["regions"], passed["regions"]) == ("2", "0")
    assert [float(upright[f"region_{name}"]) for name in ("x", "y", "width", "height")] == largest["box"]
    assert float(upright["region_area"]) == largest["area"]
    assert first.csv_path.read_text() == again.csv_path.read_text()
    for result in (first, again):
        page = result.report.read_text()
        assert page.count('<table class="regions">') == 2
        assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in page
        assert f"{largest['area_mm2']:.3g} mm²" in page
    bundle = Registry(load_settings().home).live(LINE)
    with ResultStore(load_settings().database) as store:
        sizes = {row.image_path: (row.image_height, row.image_width) for row in store.query()}
        assert sizes[str(images / "b_turned.jpg")] == (HEIGHT, WIDTH)
        (kept,) = [row for row in store.query() if row.image_path.endswith("upright.png")]
        assert list(store.regions(bundle.id, kept.image_sha256)[0].box) == largest["box"]


def test_the_export_is_coco(images: Path, linewise: Command, tmp_path: Path) -> None:
    regions = [region for row in rows_of(score(images)) for region in row["regions"]]
    path = tmp_path / "coco.json"
    code, told, _ = linewise("results", "coco", LINE, "--output", path)
    assert (code, told.split(" in ")[0]) == (0, f"3 images of {LINE} with 4 regions")
    coco = json.loads(path.read_text())
    assert (coco["info"]["line"], coco["info"]["bundle_version"]) == (LINE, "v2")
    assert [category["name"] for category in coco["categories"]] == ["defect"]
    by_id = {image["id"]: image for image in coco["images"]}
    assert {image["file_name"] for image in by_id.values()} == {str(path) for path in images.iterdir()}
    assert [annotation["bbox"] for annotation in coco["annotations"]] == [region["box"] for region in regions]
    for annotation in coco["annotations"]:
        image, (polygon,) = by_id[annotation["image_id"]], annotation["segmentation"]
        assert (image["height"], image["width"], image["decision"]) == (HEIGHT, WIDTH, "REJECT")
        assert len(polygon) >= 6
        assert max(polygon[::2]) <= WIDTH
        assert max(polygon[1::2]) <= HEIGHT
        area = cv2.contourArea(np.array(polygon, np.float32).reshape(-1, 2))
        assert annotation["area"] == pytest.approx(area, rel=0.1)


def test_the_export_reads_in_pycocotools(images: Path, linewise: Command, tmp_path: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    score(images)
    assert linewise("results", "coco", LINE, "--output", tmp_path / "coco.json")[0] == 0
    coco = coco_module.COCO(str(tmp_path / "coco.json"))
    annotations = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(["defect"])))
    assert [coco.annToMask(annotation).sum() for annotation in annotations] == pytest.approx(
        [annotation["area"] for annotation in annotations], rel=0.1
    )


def test_the_export_becomes_a_line_with_masks_of_the_same_regions(
    images: Path, linewise: Command, tmp_path: Path
) -> None:
    regions = {Path(row["path"]).name: row["regions"] for row in rows_of(score(images))}
    assert linewise("results", "coco", LINE, "--output", images / "coco.json")[0] == 0
    code, told, _ = linewise("lines", "import", "coco", images, tmp_path / "again")
    assert (code, told) == (0, f"1 line in {tmp_path / 'again'}: again\n")
    line = load_line(tmp_path / "again")
    assert [record.path.name for record in line.train_good] == ["c_passes.png"]
    assert [(record.path.name, record.kind) for record in line.defects] == [
        ("a_upright.png", "defect"),
        ("b_turned.jpg", "defect"),
    ]
    for record in line.defects:
        assert record.mask_path is not None
        mask = read_mask(record.mask_path, (HEIGHT, WIDTH))
        told_of = regions[record.path.name]
        count, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        found = sorted(statistics[1:].tolist(), key=lambda row: -row[cv2.CC_STAT_AREA])
        assert count - 1 == len(told_of)
        for part, region in zip(found, told_of, strict=True):
            assert part[:4] == pytest.approx(region["box"], abs=1)
            assert part[4] == pytest.approx(cv2.contourArea(np.array(region["contour"], np.float32)), rel=0.01)


def test_the_export_of_a_run_has_what_it_wrote(images: Path, linewise: Command, tmp_path: Path) -> None:
    score(images)
    write_image(images / "d_later.png", brightness=250, seed=4)
    run = score(images).summary.run_id
    path = tmp_path / "coco.json"
    assert linewise("results", "coco", LINE, "--output", path, "--run", str(run))[0] == 0
    assert [Path(image["file_name"]).name for image in json.loads(path.read_text())["images"]] == ["d_later.png"]
    code, _, error = linewise("results", "coco", LINE, "--output", path, "--run", "99")
    assert (code, f"a scoring run of {LINE}, got run 99" in error) == (2, True)
