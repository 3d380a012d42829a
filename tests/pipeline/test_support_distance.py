"""How far an image as a whole lies from a support, in torch and in the graph that scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from deploy.engine.scores import HEAD_OUTPUTS, SUPPORT_DISTANCE
from deploy.exporting.distance_graph import with_distance
from deploy.exporting.torch_to_onnx import export_head
from model_zoo.learner_table import make_learner
from pipeline.episodes import PatchSample, SupportSet, UnlabelledSet
from pipeline.support_distance import directions_of, distance_bound, distances
from tests.parts.episodes import SPEC, ToyLine
from tests.parts.plant import head_graph

CHANNELS = 64


def images(count: int, seed: int, noise_seed: int) -> tuple[Tensor, ...]:
    """Levels whose cells are mixtures of a product's three materials, and noise; `seed` is the product's."""
    materials = torch.randn(3, CHANNELS, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(noise_seed)
    levels = []
    for side in (8, 4):
        shares = torch.rand(count, 3, side, side, generator=generator)
        noise = 0.1 * torch.randn(count, CHANNELS, side, side, generator=generator)
        levels.append(torch.einsum("nmhw,mc->nchw", shares, materials) + noise)
    return tuple(levels)


def support_of(good: tuple[Tensor, ...], defects: tuple[Tensor, ...] | None = None) -> SupportSet:
    none = tuple(level[:0] for level in good)
    return SupportSet(
        good=good,
        augmented=tuple(level.flip(-1)[:, None] for level in good),
        synthetic=none,
        synthetic_masks=torch.zeros(0, 8, 8),
        synthetic_parents=torch.zeros(0, dtype=torch.int64),
        defects=none if defects is None else defects,
        defect_masks=torch.zeros(0, 8, 8),
        has_mask=torch.zeros(0, dtype=torch.bool),
    )


@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_images_of_the_line_lie_within_the_bound_and_other_products_beyond(k: int) -> None:
    support = support_of(images(k, 0, 1))
    directions, bound = directions_of(support), distance_bound(support)
    assert distances(images(20, 0, 2), directions).max() < bound
    assert distances(images(20, 3, 2), directions).min() > bound
    defective = images(20, 0, 2)
    defective[0][:, :, :3, :3] = images(20, 3, 2)[0][:, :, :3, :3]  # a seventh of the part is another material
    assert distances(defective, directions).max() < bound


def test_no_defect_of_the_support_lies_beyond_the_bound() -> None:
    support = support_of(images(4, 0, 1), images(2, 3, 2))
    assert distances(support.defects, directions_of(support)).max() <= distance_bound(support)


def test_an_image_may_hold_more_or_less_of_what_the_support_shows() -> None:
    """A board is pattern and background in any shares: between them lies nothing else."""
    background = torch.ones(CHANNELS, 1, 1)
    good = images(4, 0, 1)
    for level in good:
        level[..., level.shape[-1] // 2 :] = background
    support = support_of(good)
    mostly_background = images(4, 0, 2)
    for level in mostly_background:
        level[..., level.shape[-1] // 4 :] = background
    assert distances(mostly_background, directions_of(support)).max() < distance_bound(support)


@pytest.mark.parametrize("batch", [1, 5])
def test_the_graph_says_what_torch_does(tmp_path: Path, batch: int) -> None:
    line = ToyLine(0)
    support = line.support()
    head, directions = make_learner("auto", SPEC).adapt(support, seed=0), directions_of(support)
    path = tmp_path / "head.onnx"
    exported = export_head(head, list(line.good(2)), path, directions=directions)
    assert [node.name for node in onnx.load(path).graph.output] == [*HEAD_OUTPUTS, SUPPORT_DISTANCE]
    levels = ToyLine(2).good(batch)
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    feed = {f"level_{i}": level.numpy() for i, level in enumerate(levels)}
    score, distance = session.run(["image_score", SUPPORT_DISTANCE], feed)
    np.testing.assert_allclose(distance, distances(levels, directions), atol=1e-5)
    np.testing.assert_allclose(score, head(*levels).image_score, rtol=1e-4)
    assert exported.parity.max_score_error < 1e-4


def test_a_level_that_the_head_does_not_look_at_becomes_an_input() -> None:
    levels = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)]
    directions = [torch.linalg.qr(torch.rand(c, 2)).Q for c in (3, 5)]
    session = ort.InferenceSession(with_distance(head_graph(), levels, directions), providers=["CPUExecutionProvider"])
    (distance,) = session.run([SUPPORT_DISTANCE], {f"level_{i}": level.numpy() for i, level in enumerate(levels)})
    np.testing.assert_allclose(distance, distances(tuple(levels), directions), atol=1e-5)


@pytest.mark.parametrize("k", [2, 5])
def test_each_good_image_lies_from_the_others_as_from_a_support_without_it(k: int) -> None:
    support = support_of(images(k, 0, 1))
    alone = [
        distances(tuple(level[i : i + 1] for level in support.good), directions_of(support.without_good([i])))
        for i in range(k)
    ]
    square = ((k - 1) * torch.cat(alone).square().mean() + 8 * 0.125**2 * (1 + 3 / k)) / (k + 7)
    assert distance_bound(support) == pytest.approx(2.8 * float(square.sqrt()), rel=1e-4)


def test_unlabelled_images_that_were_taken_up_count_as_good_ones() -> None:
    support, more = support_of(images(2, 0, 1)), images(6, 0, 2)
    taken_up = support.joined_by(UnlabelledSet(levels=more, augmented=tuple(level.flip(-1)[:, None] for level in more)))
    alike = support_of(tuple(torch.cat(levels) for levels in zip(support.good, more, strict=True)))
    assert distance_bound(taken_up) == distance_bound(alike)
    of_both = (distances(images(9, 3, 2), directions_of(one)) for one in (taken_up, alike))
    torch.testing.assert_close(*of_both)


def test_patches_of_further_images_leave_the_bound_as_it_is() -> None:
    support = support_of(images(4, 0, 1))
    sources = torch.tensor([[4, -1, 0, 0], [5, -1, 1, 1]])
    patches = PatchSample(vectors=(torch.randn(2, CHANNELS),) * 2, sources=(sources, sources))
    many = replace(support, further=patches)
    assert distance_bound(many) == distance_bound(support)
