"""One conformance suite that every learner passes."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from deploy.exporting.torch_to_onnx import export_head
from model_zoo.learner_table import LEARNERS, make_learner
from pipeline.episodes import PatchSample, SupportSet
from pipeline.errors import ConfigError
from pipeline.learner import Learner, MetaLearner
from pipeline.metrics import image_auroc, pixel_auroc
from pipeline.patch_samples import fewer_in_full
from tests.parts.episodes import SPEC, ToyLine

META = [name for name, entry in LEARNERS.items() if entry.is_meta]


def fresh(name: str, *, steps: int = 40) -> Learner:
    return make_learner(name, SPEC, outer_steps=steps, pooled_steps=steps // 2, seed=0)


def meta(name: str, *, steps: int) -> MetaLearner:
    learner = fresh(name, steps=steps).as_meta()
    assert learner is not None
    return learner


def tensors(support: SupportSet) -> list[torch.Tensor]:
    flat = []
    for field in dataclasses.fields(support):
        value = getattr(support, field.name)
        if isinstance(value, PatchSample):
            flat += [*value.vectors, *value.sources]
        elif isinstance(value, (tuple, torch.Tensor)):
            flat += list(value) if isinstance(value, tuple) else [value]
    return flat


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> Learner:
    return fresh(request.param)


@pytest.mark.parametrize(("k", "m"), [(4, 2), (1, 0), (2, 1), (1, 1)])
def test_output_has_the_promised_shapes_and_is_finite(learner: Learner, k: int, m: int):
    line = ToyLine(1)
    head = learner.adapt(line.support(k=k, m=m), seed=0)
    output = head(*line.query().levels)
    assert output.image_score.shape == (12,)
    assert output.anomaly_map.shape == (12, 8, 8)
    assert output.nearest.shape == (12, 4, 4)
    assert output.nearest.dtype == torch.int64
    assert int(output.nearest.max()) < len(head.bank_sources)
    assert head.bank_sources.shape[1] == 4
    assert all(torch.isfinite(value.float()).all() for value in output)
    loo = head.leave_one_out(line_support := line.support(k=k, m=m))
    assert loo.image_score.shape == (line_support.k,)


def test_equal_seed_and_support_give_equal_heads_and_the_support_is_untouched(learner: Learner):
    support = ToyLine(2).support()
    before = copy.deepcopy(tensors(support))
    query = ToyLine(2).query().levels
    first, second = (learner.adapt(support, seed=3)(*query) for _ in range(2))
    assert torch.equal(first.image_score, second.image_score)
    assert torch.equal(first.anomaly_map, second.anomaly_map)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(support), strict=True))


def test_a_support_of_more_images_than_are_held_in_full_gives_a_head_whose_bank_knows_all(learner: Learner):
    line = ToyLine(2)
    support = fewer_in_full(line.support(k=140, m=3, a=0), 100, seed=0)
    before = copy.deepcopy(tensors(support))
    first, second = (learner.adapt(support, seed=3) for _ in range(2))
    query = line.query().levels
    output, again = (head(*query) for head in (first, second))
    assert torch.equal(output.anomaly_map, again.anomaly_map)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(support), strict=True))
    assert set(first.bank_sources[:, 0].tolist()) == set(range(140))
    assert len(first.leave_one_out(support).image_score) in (64, 100)
    assert torch.isfinite(first.leave_one_out(support).image_score).all()


def test_adaptation_leaves_global_random_state_alone(learner: Learner):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    learner.adapt(ToyLine(2).support(), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_adaptation_does_not_change_the_learner(learner: Learner):
    before = copy.deepcopy(learner.state_dict())
    learner.adapt(ToyLine(3).support(), seed=0)
    after = learner.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of equal structure share a graph here as they do in the registry."""
    return tmp_path_factory.mktemp("templates")


@pytest.mark.parametrize("m", [0, 2])
def test_exported_head_scores_as_torch_does(learner: Learner, m: int, tmp_path: Path, templates: Path):
    line = ToyLine(4)
    head = learner.adapt(line.support(m=m), seed=0)
    query = line.query()
    export_head(head, [level[:3] for level in query.levels], tmp_path / "head.onnx", template_folder=templates)
    session = ort.InferenceSession(tmp_path / "head.onnx", providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    feed = {f"level_{i}": level.numpy() for i, level in enumerate(query.levels) if f"level_{i}" in wanted}
    score, anomaly_map, nearest = session.run(["image_score", "anomaly_map", "nearest"], feed)
    expected = head(*query.levels)
    np.testing.assert_allclose(score, expected.image_score.numpy(), atol=1e-4)
    np.testing.assert_allclose(anomaly_map, expected.anomaly_map.numpy(), atol=1e-4)
    assert np.array_equal(nearest, expected.nearest.numpy())


def test_it_finds_obvious_defects_without_meta_training(learner: Learner):
    line = ToyLine(6, shift=4.0)
    query = line.query()
    output = learner.adapt(line.support(), seed=0)(*query.levels)
    assert image_auroc(output.image_score.numpy(), query.labels.numpy()) > 0.95
    assert pixel_auroc(output.anomaly_map.numpy(), (query.masks > 0.5).numpy()) > 0.95


def test_labels_without_masks_are_enough_to_adapt_from(learner: Learner):
    line = ToyLine(7, shift=4.0)
    query = line.query()
    output = learner.adapt(line.support(masks=False), seed=0)(*query.levels)
    assert image_auroc(output.image_score.numpy(), query.labels.numpy()) > 0.9


@pytest.mark.parametrize("name", META)
def test_outer_loop_lowers_the_query_loss(name: str):
    learner = meta(name, steps=42)
    tasks = [learner.prepare(ToyLine(seed).episode(m=seed % 3)) for seed in range(6)]
    losses = [learner.outer_step([tasks[step % 6]]).loss for step in range(42)]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", META)
def test_outer_loop_is_reproducible(name: str):
    def train() -> dict[str, torch.Tensor]:
        learner = meta(name, steps=6)
        tasks = [learner.prepare(ToyLine(seed).episode()) for seed in range(2)]
        for step in range(6):
            learner.outer_step([tasks[step % 2]])
        return learner.state_dict()

    first, second = train(), train()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_calls_itself_by_its_name_in_the_table(name: str):
    assert fresh(name).name == name


@pytest.mark.parametrize("name", LEARNERS)
def test_what_a_learner_says_of_itself_is_so(name: str):
    learner, line = fresh(name), ToyLine(8)
    assert (learner.as_meta() is not None) == LEARNERS[name].is_meta
    assert json.loads(json.dumps(learner.settings()))
    more = line.support(m=2)
    none = {"defects": tuple(level[:0] for level in more.defects), "defect_masks": more.defect_masks[:0]}
    few = dataclasses.replace(more, **none, has_mask=more.has_mask[:0])
    query = line.query().levels
    same = torch.equal(learner.adapt(few, seed=0)(*query).image_score, learner.adapt(more, seed=0)(*query).image_score)
    assert same or learner.uses_defects  # a head that was never trained may equal the bank, whatever it is shown
    with pytest.raises(RuntimeError):
        learner.load_state_dict({"no such parameter": torch.zeros(1)})


@pytest.mark.parametrize("name", LEARNERS)
def test_what_learners_share_gives_the_same_heads(name: str):
    learner, line = fresh(name).unguarded(), ToyLine(8)
    support, query = line.support(), line.query().levels
    assert learner.fallback is None
    expected = learner.adapt(support, seed=2)(*query)
    preparation = learner.preparation
    if preparation is None:
        assert learner.adapt(support, seed=2).shared_inputs is None
        return
    assert preparation == fresh(name).preparation
    assert hash(preparation) == hash(fresh(name).preparation)
    head = learner.choose(support, seed=2, prepared=preparation(support, 2)).head
    inputs = head.shared_inputs
    assert inputs is not None
    for given in (head(*query), head.output_of(inputs.of_query(query))):
        torch.testing.assert_close(given.image_score, expected.image_score, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_possible_heads_have_the_structure_of_every_head_it_gives(name: str):
    learner, support = fresh(name), ToyLine(8).support()
    heads = learner.possible_heads(support, seed=0)
    assert len(heads) == (1 if learner.fallback is None else 2)
    kinds = {tuple((key, value.shape) for key, value in head.state_dict().items()) for head in heads}
    for given in (learner, learner.unguarded()):
        found = given.adapt(support, seed=0).state_dict()
        assert tuple((key, value.shape) for key, value in found.items()) in kinds


def test_unknown_learner_is_one_sentence_with_near_names():
    with pytest.raises(ConfigError, match="expected the name of a learner, got 'mamml': use one of: maml"):
        make_learner("mamml", SPEC)
