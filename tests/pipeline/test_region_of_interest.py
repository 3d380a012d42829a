"""Regions of interest: what a file draws, which cells are inside, which defects are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.cell_grid import CellGrid
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.images import PreprocessSpec
from pipeline.product_lines.lines import load_line
from pipeline.region_cells import cells_inside, region_of_views
from pipeline.region_of_interest import RegionOfInterest, read_region
from pipeline.support import SupportConfig, build_support
from pipeline.synthetic.lines import write_line
from tests.pipeline.test_support import SOURCE


def drawn(path: Path, **content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_polygons_are_looked_at_and_those_to_ignore_cut_out(tmp_path: Path):
    look = [[[0, 0], [40, 0], [40, 60], [0, 60]], [[20, 0], [80, 0], [80, 20], [20, 20]]]
    ignore = [[[0, 0], [10, 0], [10, 10], [0, 10]]]
    mask = read_region(drawn(tmp_path / "a.json", width=80, height=60, look=look, ignore=ignore), [(60, 80)]).mask
    assert mask[30, 5]
    assert mask[10, 30], "where two overlap"
    assert mask[10, 70]
    assert not mask[40, 60]
    assert not mask[5, 5]
    only = read_region(drawn(tmp_path / "b.json", width=80, height=60, ignore=ignore), [(60, 80)])
    assert only.share == pytest.approx(1 - 100 / 4800, abs=0.006)


@pytest.mark.parametrize("kind", ["grey", "colour", "alpha", "deep", "jpeg"])
def test_a_mask_image_is_looked_at_where_it_is_white(tmp_path: Path, kind: str):
    image = np.zeros((30, 40), np.uint16 if kind == "deep" else np.uint8)
    image[:, :10] = np.iinfo(image.dtype).max
    if kind == "colour":
        image = np.repeat(image[..., None], 3, axis=2)
    if kind == "alpha":
        image = np.dstack([image, image, image, np.full_like(image, 255)])
    path = tmp_path / ("mask.jpg" if kind == "jpeg" else "mask.png")
    assert cv2.imwrite(str(path), image)
    region = read_region(path, [(60, 80), (1080, 1440)])
    assert region.mask[:, :10].all()
    assert not region.mask[:, 10:].any()
    assert np.array_equal(RegionOfInterest.from_png(region.to_png()).mask, region.mask)


def test_what_cannot_be_used_is_refused(tmp_path: Path):
    whole = np.full((30, 40), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "whole.png"), whole)
    cv2.imwrite(str(tmp_path / "black.png"), 0 * whole)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ConfigError, match=r"the proportions of the line's images in .*whole.png, got .* for images of"):
        read_region(tmp_path / "whole.png", [(60, 80), (80, 60)])
    with pytest.raises(ConfigError, match=r"something to look at in .*black.png, got an empty one: draw white where"):
        read_region(tmp_path / "black.png", [(60, 80)])
    with pytest.raises(ImageError, match=r"text.png"):
        read_region(tmp_path / "text.png", [(60, 80)])
    with pytest.raises(ConfigError, match=r"a file with polygons at .*roi.json, got no such file: check the path"):
        read_region(tmp_path / "roi.json", [(60, 80)])
    for content, got in (
        ([[0, 0]], r"\[\[0, 0\]\], not an object"),
        ({"height": 60}, "no width"),
        ({"width": 80, "height": 60, "keep": []}, "'keep', which no such file has"),
        ({"width": 80, "height": "high"}, '"high" as height'),
        ({"width": 80, "height": 60, "look": [[[0, 0], [9, 0]]]}, r"\[\[0, 0\], \[9, 0\]\] as look.0"),
    ):
        (tmp_path / "other.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=rf'polygons in .*other.json, got {got}: write {{"width"'):
            read_region(tmp_path / "other.json", [(60, 80)])
    for content in ({}, {"look": []}, {"ignore": []}, {"look": [], "ignore": []}):
        with pytest.raises(ConfigError, match=r"polygons of what to look at, or to ignore, in .*none.json, got none"):
            read_region(drawn(tmp_path / "none.json", width=80, height=60, **content), [(60, 80)])
    ignore = [[[0, 0], [9, 0], [9, 9]]]
    with pytest.raises(ConfigError, match=r"at most 100,000,000 pixels in .*huge.json, got 60000 x 60000 pixels"):
        read_region(drawn(tmp_path / "huge.json", width=60_000, height=60_000, ignore=ignore), [(60, 60)])


def test_a_large_mask_is_kept_smaller(tmp_path: Path):
    large = np.zeros((3000, 4000), np.uint8)
    large[:, :1000] = 255
    cv2.imwrite(str(tmp_path / "large.png"), large)
    region = read_region(tmp_path / "large.png", [(3000, 4000)])
    assert region.mask.shape == (1536, 2048)
    assert region.share == 0.25


def test_cells_are_inside_with_half_of_them_and_turn_with_the_view():
    mask = np.zeros((64, 64), np.bool_)
    mask[:, :20] = True  # two and a half of eight cells
    views = region_of_views(RegionOfInterest(mask), (64, 64), ("hflip", "rot90"), CellGrid((8, 8)))
    assert views[0, :, :3].all()
    assert not views[0, :, 3:].any()
    assert torch.equal(views[1], views[0].flip(1))
    assert views[2, 5:].all()
    assert not views[2, :5].any()
    assert cells_inside(views[0], (8, 8))[0].tolist() == [True, True, *6 * [False]], "the third sees beside the region"
    assert cells_inside(views[0], (4, 4))[0].tolist() == [True, *3 * [False]]
    thin = torch.zeros(8, 8, dtype=torch.bool)
    thin[3, 3] = True
    assert cells_inside(thin, (4, 4)).sum() == 1


def test_a_defect_meets_a_region_of_another_size():
    mask, defect = np.zeros((30, 40), np.bool_), np.zeros((300, 400), np.bool_)
    mask[:, :20] = True
    defect[:, 210:220] = True
    assert not RegionOfInterest(mask).meets(defect)
    defect[0, 199] = True
    assert RegionOfInterest(mask).meets(defect)


def test_synthetic_defects_begin_inside(tmp_path: Path):
    line = load_line(write_line(tmp_path, 3, good=3, test_good=1, defects=1, size=96))
    mask = np.zeros((96, 96), np.bool_)
    mask[:, :48] = True
    preprocess, config = PreprocessSpec(height=64, width=64), SupportConfig(synthetic=24)
    region = RegionOfInterest(mask)
    support = build_support(line.train_good, (), SOURCE, preprocess, config, seed=0, region=region)
    assert support.looked_at is not None
    shares = [float(m[support.looked_at[0]].sum() / m.sum()) for m in support.synthetic_masks]
    assert min(shares) > 0
    assert np.mean(shares) > 0.8
    everywhere = build_support(line.train_good, (), SOURCE, preprocess, config, seed=0)
    assert everywhere.looked_at is None
    assert min(float(m[:, :4].sum()) for m in everywhere.synthetic_masks) == 0


def test_a_part_too_thin_to_have_an_inner_cell_is_seen():
    thin = torch.zeros(8, 8, dtype=torch.bool)
    thin[:, :3] = thin[4, :] = True
    seen = cells_inside(thin, (8, 8))
    assert seen[:, :2].all()
    assert seen[4, 3:].all()
    assert not seen[0, 2]
