"""Every learner within a region: nothing outside reaches a head, and a head says nothing of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from deploy.engine.scores import HEAD_OUTPUTS
from deploy.exporting.torch_to_onnx import export_head
from model_zoo.heads.region_head import RegionHead
from model_zoo.learner_table import LEARNERS, make_learner
from model_zoo.learning.region_learner import RegionLearner
from pipeline.episodes import SupportSet, UnlabelledSet
from pipeline.learner import AnomalyHead
from pipeline.region_cells import cells_inside
from tests.parts.episodes import SPEC, ToyLine

WIDE, NARROW = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8, dtype=torch.bool)
WIDE[:, 2:] = True
NARROW[2:8, 4:8] = True


def learner(name: str) -> RegionLearner:
    return RegionLearner(make_learner(name, SPEC, outer_steps=40, pooled_steps=20, seed=0))


def looking(support: SupportSet, region: Tensor) -> SupportSet:
    """The support with a region; its three views are the flips of `build_support`."""
    views = (region, region.flip(1), region.flip(0), region.flip(0, 1))
    return replace(support, looked_at=torch.stack(views))


def changed(levels: tuple[Tensor, ...], region: Tensor, by: float = 50.0) -> tuple[Tensor, ...]:
    """Levels (..., C, h, w) whose cells outside are others."""
    return tuple(
        torch.where(cells_inside(region, (level.shape[-2], level.shape[-1])), level, level.flip(-1) * 3 + by)
        for level in levels
    )


def changed_everywhere(support: SupportSet) -> SupportSet:
    """The support with everything outside its region changed, masks, too."""
    assert support.looked_at is not None
    plain, *views = support.looked_at
    turned = [changed(tuple(level[:, a] for level in support.augmented), view) for a, view in enumerate(views)]
    return replace(
        support,
        good=changed(support.good, plain),
        augmented=tuple(torch.stack(of_level, 1) for of_level in zip(*turned, strict=True)),
        synthetic=changed(support.synthetic, plain),
        synthetic_masks=torch.where(plain, support.synthetic_masks, 1.0),
        defects=changed(support.defects, plain),
        defect_masks=torch.where(plain, support.defect_masks, 1.0),
    )


def told(head: AnomalyHead, support: SupportSet, levels: tuple[Tensor, ...]) -> list[Tensor]:
    """All that a head says: of images, of the good ones and of the defects."""
    with torch.no_grad():
        of_defects = head.leave_one_defect_out(support)
        known = [] if of_defects is None else [of_defects]
        return [*head(*levels), *head.leave_one_out(support), *known]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(("k", "region"), [(4, WIDE), (1, NARROW)], ids=["wide", "narrow"])
def test_nothing_outside_the_region_is_seen_to_the_digit(name: str, k: int, region: Tensor):
    line = ToyLine(4)
    support, query = looking(line.support(k=k), region), line.query().levels
    other = changed_everywhere(support)
    head, of_other = (learner(name).adapt(seen, seed=0) for seen in (support, other))
    expected = told(head, support, query)
    for found in (told(head, other, changed(query, region)), told(of_other, other, query)):
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(head.bank_sources, of_other.bank_sources)


@pytest.mark.parametrize("name", ["auto", "memory_bank", "maml"])
def test_the_exported_head_sees_the_region_alone(name: str, tmp_path: Path):
    line = ToyLine(5)
    support, query = looking(line.support(), WIDE), line.query().levels
    head = learner(name).adapt(support, seed=0)
    export_head(head, [level[:3] for level in query], tmp_path / "head.onnx", template_folder=tmp_path / "templates")
    again = learner(name).adapt(looking(line.support(), NARROW), seed=0)
    filled = export_head(
        again, [level[:3] for level in query], tmp_path / "again.onnx", template_folder=tmp_path / "templates"
    )
    assert filled.from_template, "heads of other regions share a graph"
    session = ort.InferenceSession(tmp_path / "head.onnx", providers=["CPUExecutionProvider"])
    outputs = []
    for levels in (query, changed(query, WIDE)):
        outputs.append(session.run(list(HEAD_OUTPUTS), {f"level_{i}": v.numpy() for i, v in enumerate(levels)}))
    assert all((a == b).all() for a, b in zip(*outputs, strict=True))
    assert (outputs[0][1][:, :, :2] == outputs[0][1][0, 0, 0]).all()


@pytest.mark.parametrize("name", ["auto", "memory_bank"])
def test_a_defect_counts_inside_and_not_outside(name: str):
    line = ToyLine(6, shift=6.0)
    head = learner(name).adapt(looking(line.support(), WIDE), seed=0)
    good = line.good(1)
    defective = []
    for row, column in ((4, 4), (4, 0)):
        levels = tuple(level.clone() for level in good)
        levels[0][0, :, row : row + 2, column : column + 2] += 6 * line.direction[0]
        levels[1][0, :, row // 2, column // 2] += 6 * line.direction[1][:, 0, 0]
        defective.append(levels)
    with torch.no_grad():
        plain, (inside, outside) = head(*good), (head(*levels) for levels in defective)
    assert float(inside.image_score) > float(plain.image_score) + 1
    assert int(inside.anomaly_map.flatten().argmax()) // 8 in (4, 5)
    assert torch.equal(outside.image_score, plain.image_score)
    assert torch.equal(outside.anomaly_map, plain.anomaly_map)


def test_the_bank_has_no_part_from_outside():
    support = looking(ToyLine(7).support(), NARROW)
    head = learner("memory_bank").adapt(support, seed=0)
    assert isinstance(head, RegionHead)
    assert support.looked_at is not None
    coarse = torch.stack([cells_inside(view, (4, 4)) for view in support.looked_at])
    _, view, row, column = head.bank_sources.unbind(1)
    assert coarse[view + 1, row, column].all()


def test_a_view_that_shows_nothing_of_the_region_gives_way_to_the_image_as_it_is():
    support = looking(ToyLine(8).support(), NARROW)
    assert support.looked_at is not None
    looked_at = support.looked_at.clone()
    looked_at[2] = False
    head = learner("memory_bank").adapt(replace(support, looked_at=looked_at), seed=0)
    assert set(head.bank_sources[:, 1].tolist()) == {-1, 0, 2}


def test_without_a_region_heads_are_as_they_were():
    line = ToyLine(9)
    support, query = line.support(), line.query().levels
    plain = make_learner("auto", SPEC, outer_steps=40, pooled_steps=20, seed=0).adapt(support, seed=0)
    within = learner("auto").adapt(support, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(plain(*query), within(*query), strict=True))


@pytest.mark.parametrize("views", [3, 0])
def test_images_that_are_taken_up_are_seen_within_the_region_too(views: int):
    line = ToyLine(10)
    support, query = looking(line.support(), WIDE), line.query().levels
    more, turned = line.good(3), line.good(3, views)
    others = UnlabelledSet(levels=changed(more, WIDE), augmented=turned)
    heads = [
        learner("auto").adapt(support.joined_by(unlabelled), seed=0)
        for unlabelled in (UnlabelledSet(levels=more, augmented=turned), others)
    ]
    first, second = (head(*query) for head in heads)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
