"""A region of interest over tiles: each is seen within its own part of it, one by one as in a stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from deploy.engine.scores import HEAD_OUTPUTS, TILE
from deploy.exporting.torch_to_onnx import export_head
from model_zoo.heads.stacked_tiles import each_tile, stacked
from model_zoo.learner_table import make_learner
from model_zoo.learning.region_learner import RegionLearner
from pipeline.episodes import SupportSet
from pipeline.learner import AnomalyHead
from pipeline.region_cells import cells_inside
from tests.model_zoo.heads.test_stacked_tiles import TILES, stacks, tiled
from tests.parts.episodes import SPEC, ToyLine

NAMES = ("auto", "shared_direction", "memory_bank")
LEFT, RIGHT, ALL = (torch.zeros(8, 8, dtype=torch.bool) for _ in range(3))
LEFT[:, :3] = RIGHT[2:, 6:] = ALL[:] = True
REGION = torch.cat([LEFT, RIGHT, ALL])


def looking(support: SupportSet, region: Tensor = REGION) -> SupportSet:
    """Every three images of a support one of three tiles, with a region."""
    return replace(tiled(support), looked_at=region[None])


def head_of(name: str, support: SupportSet) -> AnomalyHead:
    return RegionLearner(make_learner(name, SPEC, seed=0)).adapt(support, seed=0)


def changed(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Stacks whose cells outside are others."""
    inside = [cells_inside(REGION, (level.shape[-2], level.shape[-1]), TILES) for level in levels]
    return tuple(
        torch.where(cells, level, level.flip(-1) * 3 + 50) for cells, level in zip(inside, levels, strict=True)
    )


def tiles_of(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tiles of stacks one by one, and their numbers behind them."""
    return (*(each_tile(level, TILES) for level in levels), torch.arange(TILES).repeat(len(levels[0])))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_stack_scores_as_the_largest_of_its_tiles_and_nothing_outside_is_seen(name: str) -> None:
    toy = ToyLine(0)
    support = looking(toy.support(k=12, m=6, n=6, a=0))
    query = stacks(toy.defective(6)[0])
    head = head_of(name, support)
    assert head.asks_tile
    of_stacks, of_tiles = head(*query), head(*tiles_of(query))
    torch.testing.assert_close(of_stacks.image_score, of_tiles.image_score.reshape(2, TILES).amax(1))
    torch.testing.assert_close(of_stacks.anomaly_map, stacked(of_tiles.anomaly_map, TILES))
    assert torch.equal(of_stacks.nearest, stacked(of_tiles.nearest, TILES))
    assert (of_stacks.anomaly_map[:, ~REGION] == of_stacks.anomaly_map[0, ~REGION][0]).all()

    of_others = head(*changed(query))
    assert all(torch.equal(a, b) for a, b in zip(of_stacks, of_others, strict=True))
    other = replace(
        support,
        good=changed(support.good),
        synthetic=changed(support.synthetic),
        synthetic_masks=torch.where(REGION, support.synthetic_masks, 1.0),
        defects=changed(support.defects),
        defect_masks=torch.where(REGION, support.defect_masks, 1.0),
    )
    again = head_of(name, other)
    for found in (again(*query), again.leave_one_out(other)):
        expected = of_stacks if len(found.image_score) == 2 else head.leave_one_out(support)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(head.bank_sources, again.bank_sources)
    _, _, row, column = head.bank_sources.unbind(1)
    assert cells_inside(REGION, (4 * TILES, 4), TILES)[row, column].all()


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_head_is_told_which_tile_it_sees(name: str, tmp_path: Path) -> None:
    toy = ToyLine(1)
    support, query = looking(toy.support(k=12, m=6, n=6, a=0)), stacks(toy.defective(6)[0])
    head = head_of(name, support)
    *levels, numbers = tiles_of(query)
    examples = [level[:2] for level in levels]
    templates = tmp_path / "templates"
    export_head(head, examples, tmp_path / "head.onnx", tiles=numbers[:2], template_folder=templates)
    session = ort.InferenceSession(tmp_path / "head.onnx", providers=["CPUExecutionProvider"])
    for batch in (slice(0, 6), slice(4, 5)):
        feed = {f"level_{i}": level[batch].numpy() for i, level in enumerate(levels)} | {TILE: numbers[batch].numpy()}
        with torch.no_grad():
            expected = head(*(level[batch] for level in levels), numbers[batch])
        for torch_says, onnx_says in zip(expected, session.run(list(HEAD_OUTPUTS), feed), strict=True):
            torch.testing.assert_close(torch_says, torch.from_numpy(onnx_says), atol=1e-4, rtol=1e-4)

    elsewhere = looking(toy.support(k=12, m=6, n=6, a=0), REGION.flip(0))
    filled = export_head(
        head_of(name, elsewhere), examples, tmp_path / "again.onnx", tiles=numbers[:2], template_folder=templates
    )
    assert filled.from_template, "heads of other regions share a graph"


def test_a_view_that_shows_nothing_of_the_region_in_a_tile_borrows_anothers() -> None:
    support = tiled(ToyLine(2).support(k=12, m=0, n=0, a=0))
    views = tuple(stacked(level[:, None], TILES)[:, None, 0] for level in ToyLine(2).good(12))
    turned = torch.cat([torch.zeros(8, 8, dtype=torch.bool), RIGHT, ALL])
    seen = replace(support, augmented=views, looked_at=torch.stack([REGION, turned]))
    head = head_of("memory_bank", seen)
    _, view, row, _ = head.bank_sources.unbind(1)
    assert set(view.tolist()) == {-1, 0}
    assert (row[view == 0] >= 4).all()
    assert (row[view == -1] < 4).any()


def test_a_defect_that_touches_the_region_in_no_cell_is_known_by_its_label() -> None:
    support = looking(ToyLine(3).support(k=12, m=6, n=0, a=0))
    masks = torch.zeros_like(support.defect_masks)
    masks[:, ~REGION] = 1.0
    outside = replace(support, defect_masks=masks)
    by_label = replace(outside, has_mask=torch.zeros_like(support.has_mask))
    query = stacks(ToyLine(3).good(6))
    with torch.no_grad():
        first, second = (head_of("auto", given)(*query) for given in (outside, by_label))
    assert torch.equal(first.image_score, second.image_score)
