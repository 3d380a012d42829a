"""Heads of images that are seen as tiles: learned by the image, and scored tile by tile."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model_zoo.heads.stacked_tiles import each_tile, stacked
from model_zoo.learner_table import make_learner
from pipeline.episodes import SupportSet
from pipeline.support_distance import directions_of, distance_bound, distances
from tests.parts.episodes import SPEC, ToyLine

TILES = 3


def stacks(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Images (B * T, ...) as the tiles of B."""
    return tuple(stacked(level, TILES) for level in levels)


def tiled(support: SupportSet) -> SupportSet:
    """Every three images of a support, one image of three tiles."""
    return replace(
        support,
        good=stacks(support.good),
        augmented=tuple(stacked(level[:, None], TILES)[:, :0] for level in support.good),
        synthetic=stacks(support.synthetic),
        synthetic_masks=stacked(support.synthetic_masks, TILES),
        synthetic_parents=support.synthetic_parents[: len(support.synthetic_parents) // TILES],
        defects=stacks(support.defects),
        defect_masks=stacked(support.defect_masks, TILES),
        has_mask=support.has_mask[::TILES],
        tiles=TILES,
    )


def test_a_stack_is_taken_apart_and_put_together() -> None:
    whole = torch.arange(2 * 5 * 12 * 4.0).reshape(2, 5, 12, 4)
    each = each_tile(whole, TILES)
    assert each.shape == (6, 5, 4, 4)
    assert torch.equal(each[1], whole[0, :, 4:8])
    assert torch.equal(stacked(each, TILES), whole)
    assert torch.equal(stacked(each_tile(whole[:, 0], TILES), TILES), whole[:, 0])


@pytest.mark.parametrize("name", ["auto", "shared_direction", "memory_bank"])
def test_a_stack_scores_as_the_largest_of_its_tiles_each_seen_alone(name: str) -> None:
    toy = ToyLine(0)
    support = tiled(toy.support(k=12, m=6, n=6, a=0))
    learner = make_learner(name, SPEC, seed=0)
    assert learner.sees_tiles
    head = learner.adapt(support, seed=0)
    alone, _ = toy.defective(6)
    with torch.no_grad():
        of_tiles, of_stacks = head(*alone), head(*stacks(alone))
    torch.testing.assert_close(of_stacks.image_score, of_tiles.image_score.reshape(2, TILES).amax(1))
    torch.testing.assert_close(of_stacks.anomaly_map, stacked(of_tiles.anomaly_map, TILES))
    assert torch.equal(of_stacks.nearest, stacked(of_tiles.nearest, TILES))
    assert head.leave_one_out(support).image_score.shape == (4,)
    found = head.leave_one_defect_out(support)
    assert found is not None
    assert found.shape == (2,)


@pytest.mark.parametrize("name", ["auto", "memory_bank"])
def test_an_image_is_left_out_with_all_its_tiles(name: str) -> None:
    support = ToyLine(1).support(k=12, m=0, n=0, a=0)
    for level in support.good:  # what only the first image shows, in two tiles that overlap
        level[:2, :, :2, :2] += 3.0
    by_image = tiled(support)
    scores = make_learner(name, SPEC, seed=0).adapt(by_image, seed=0).leave_one_out(by_image).image_score
    assert scores[0] > scores[1:].max() + 0.5
    by_tile = make_learner(name, SPEC, seed=0).adapt(support, seed=0).leave_one_out(support).image_score
    assert by_tile[0] < scores[0] - 0.3  # the other tile would have explained it


def test_a_defect_is_one_image_and_its_tiles_without_a_defective_cell_are_none() -> None:
    toy = ToyLine(2)
    support = tiled(toy.support(k=12, m=3, n=0, a=0))
    masks = support.defect_masks.clone()
    masks[:, 8:] = 0  # the second and third tile show none
    good = toy.good(3)
    defects = tuple(
        torch.cat([level[:, :, : level.shape[2] // TILES], stacked(tile, TILES)[:, :, level.shape[2] // TILES :]], 2)
        for level, tile in zip(support.defects, good, strict=True)
    )
    one = replace(support, defects=defects, defect_masks=masks)
    whole = make_learner("auto", SPEC, seed=0)
    with torch.no_grad():
        head = whole.adapt(one, seed=0)
        defective, clean = (head(*levels).image_score for levels in (toy.defective(8)[0], toy.good(8)))
    assert defective.min() > clean.max()


def test_the_distance_of_an_image_is_the_mean_of_its_tiles() -> None:
    toy = ToyLine(3)
    support = tiled(toy.support(k=12, m=3, n=0, a=0))
    directions, images = directions_of(support), toy.good(6)
    of_tiles = distances(images, directions)
    torch.testing.assert_close(distances(stacks(images), directions, TILES), of_tiles.reshape(2, TILES).mean(1))
    assert float(distances(stacks(images), directions, TILES).max()) < distance_bound(support)
