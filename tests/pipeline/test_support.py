"""Support sets, query sets and episodes from files: what they hold, what they never share."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline import support as support_module
from pipeline.augmentations import AUGMENTATIONS, ROTATIONS, turned
from pipeline.episode_draws import sample_episode, sample_images
from pipeline.errors import ImageError, LineError
from pipeline.features import Levels
from pipeline.imaging.images import PreprocessSpec, require_image
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.support import DirectFeatures, SupportConfig, build_query, build_support
from pipeline.synthetic.lines import write_line
from tests.parts.episodes import SPEC

PREPROCESS = PreprocessSpec(height=64, width=64)


class PixelMeans:
    """An extractor whose features are the mean colours of the grid's cells: enough to recognise an image by."""

    spec = SPEC

    def extract(self, images_BHWC: np.ndarray) -> Levels:
        levels = []
        for level in SPEC.levels:
            small = [
                cv2.resize(image, (level.width, level.height), interpolation=cv2.INTER_AREA) for image in images_BHWC
            ]
            colours = np.stack(small).transpose(0, 3, 1, 2).astype(np.float32)
            levels.append(np.tile(colours, (1, level.channels // 3 + 1, 1, 1))[:, : level.channels])
        return levels


SOURCE = DirectFeatures(PixelMeans())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> ProductLine:
    return load_line(write_line(tmp_path_factory.mktemp("lines"), 3, good=6, test_good=5, defects=7, size=96))


def test_support_holds_features_of_the_images_their_views_and_painted_defects(line):
    support = build_support(line.train_good[:3], line.defects[:2], SOURCE, PREPROCESS, SupportConfig(), seed=0)
    assert [level.shape for level in support.good] == [(3, 10, 8, 8), (3, 12, 4, 4)]
    assert [level.shape for level in support.augmented] == [(3, 3, 10, 8, 8), (3, 3, 12, 4, 4)]
    assert [level.shape for level in support.synthetic] == [(8, 10, 8, 8), (8, 12, 4, 4)]
    assert (support.k, support.m) == (3, 2)
    assert support.synthetic_parents.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    pixels = require_image(line.train_good[1].path, PREPROCESS).pixels
    (expected, _) = PixelMeans().extract(np.ascontiguousarray(AUGMENTATIONS["vflip"](pixels))[None])
    assert np.array_equal(support.augmented[0][1, 1].numpy(), expected[0])


def test_each_image_is_decoded_once_for_all_its_views_and_defects(line, monkeypatch: pytest.MonkeyPatch):
    decoded: list[Path] = []

    def counting(path: Path, preprocess: PreprocessSpec):
        decoded.append(path)
        return require_image(path, preprocess)

    monkeypatch.setattr(support_module, "require_image", counting)
    good, defects = line.train_good[:2], line.defects[:1]
    build_support(good, defects, SOURCE, PREPROCESS, SupportConfig(), seed=0)
    assert sorted(decoded) == sorted(record.path for record in (*good, *defects))


def test_rotations_turn_about_the_centre_anticlockwise():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert np.array_equal(AUGMENTATIONS["rot90"](image), np.rot90(image))
    assert np.array_equal(turned(image, 180), AUGMENTATIONS["rot180"](image))
    views = [AUGMENTATIONS[name](image) for name in ROTATIONS]
    assert len(views) == 11
    assert all(view.shape == image.shape and view.dtype == np.uint8 for view in views)
    smooth = np.full((64, 64), 20, np.uint8)
    smooth[30:34, 44:60] = 200  # a bar to the right of the centre
    assert turned(smooth, 30)[:32].mean() > turned(smooth, 30)[32:].mean() + 5, "anticlockwise: it rises"


def test_masks_are_shares_of_cells_and_painted_defects_differ_from_their_parent_only_there(line):
    support = build_support(line.train_good[:2], line.defects[:3], SOURCE, PREPROCESS, SupportConfig(), seed=1)
    for masks in (support.synthetic_masks, support.defect_masks):
        assert masks.min() >= 0
        assert masks.max() <= 1
        assert (masks.flatten(1).sum(1) > 0).all()
    assert support.has_mask.all()
    for index, parent in enumerate(support.synthetic_parents.tolist()):
        changed = (support.synthetic[0][index] - support.good[0][parent]).abs().amax(0)
        assert changed[support.synthetic_masks[index] == 0].max() < changed.max()


def test_a_defect_without_a_mask_is_known_by_its_label(line, tmp_path):
    shutil.copytree(line.root, tmp_path / "line")
    shutil.rmtree(tmp_path / "line" / "ground_truth")
    bare = load_line(tmp_path / "line")
    support = build_support(bare.train_good[:2], bare.defects[:2], SOURCE, PREPROCESS, SupportConfig(), seed=0)
    assert support.has_mask.tolist() == [False, False]
    assert float(support.defect_masks.sum()) == 0
    query = build_query((*bare.test_good[:1], *bare.defects[:1]), SOURCE, PREPROCESS)
    assert query.has_mask.tolist() == [True, False]
    assert query.labels.tolist() == [False, True]


def test_same_seed_same_support_and_another_seed_other_defects(line):
    def build(seed: int) -> torch.Tensor:
        return build_support(line.train_good[:2], (), SOURCE, PREPROCESS, SupportConfig(), seed=seed).synthetic[0]

    assert torch.equal(build(4), build(4))
    assert not torch.equal(build(4), build(5))


@pytest.mark.parametrize("seed", range(5))
def test_query_holds_no_support_image(line, seed):
    images = sample_images(line, good=3, defects=3, query=100, seed=seed)
    assert len(images.defects) == 3
    assert not {r.path for r in images.query} & {r.path for r in (*images.good, *images.defects)}


def test_left_over_good_images_stay_out_of_the_query_where_asked(line):
    images = sample_images(line, good=2, defects=0, query=100, seed=0, spare_good=False)
    assert {r.path for r in images.query if not r.is_defect} == {r.path for r in line.test_good}


def test_small_lines_shrink_the_draw_and_keep_one_defect_to_judge_by(line):
    images = sample_images(line, good=99, defects=99, query=8, seed=0)
    assert len(images.good) == 6
    assert len(images.defects) == 6
    assert sum(record.is_defect for record in images.query) == 1


def test_episode_is_reproducible(line):
    first, second = (
        sample_episode(line, SOURCE, PREPROCESS, SupportConfig(), good=2, defects=1, query=6, seed=9) for _ in range(2)
    )
    assert torch.equal(first.query.levels[0], second.query.levels[0])
    assert torch.equal(first.support.synthetic_masks, second.support.synthetic_masks)


def test_no_good_image_is_one_sentence(line):
    with pytest.raises(LineError, match="at least one good image, got none"):
        build_support((), line.defects, SOURCE, PREPROCESS, SupportConfig(), seed=0)


def test_mask_of_another_size_is_one_sentence(line, tmp_path):
    shutil.copytree(line.root, tmp_path / "line")
    broken = load_line(tmp_path / "line")
    mask = broken.defects[0].mask_path
    assert isinstance(mask, Path)
    cv2.imwrite(str(mask), np.full((50, 40), 255, np.uint8))
    with pytest.raises(ImageError, match="a mask of its image's size"):
        build_support(broken.train_good[:1], broken.defects[:1], SOURCE, PREPROCESS, SupportConfig(), seed=0)


def test_a_line_of_one_good_image_makes_no_episode(line):
    lonely = dataclasses.replace(line, train_good=line.train_good[:1], test_good=())
    with pytest.raises(LineError) as caught:
        sample_images(lonely, good=1, defects=1, query=4, seed=0)
    assert str(caught.value) == (
        f"expected two good images in {line.root}, got 1: add good images to make episodes from"
    )
