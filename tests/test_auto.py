"""The default learner: what the support chooses, and by which evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flows.jobs import adapt, scales
from flows.jobs.folds import protocol_folds
from flows.jobs.names import LearnerName, Protocol
from flows.jobs.progress import ignore_progress
from flows.jobs.requests import AdaptRequest, EvaluateRequest
from flows.jobs.scales import candidate_sizes
from flows.jobs.scenarios import bench as bench_module
from flows.jobs.scenarios import few_shot
from flows.jobs.scenarios.bench import Bench
from model_zoo.learners.auto import ALL_LAYERS, AutoConfig, AutoLearner
from model_zoo.memory_bank import coreset
from model_zoo.separation import overlap, separation
from pipeline.imaging.images import read_native
from pipeline.metrics import aupro
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line
from tests.episodes_support import SPEC, ToyLine


def test_separation_is_d_prime_with_four_scores_of_prior():
    defective, good = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0, 1.0])
    variance = (2.0 + 4 * 0.1) / (2 + 3 - 2 + 4)
    assert separation(defective, good) == pytest.approx(2.0 / variance**0.5)
    assert separation(good[:1], good) == 0.0


def test_separation_of_one_defect_is_finite_and_grows_with_its_score():
    good = torch.tensor([0.1, 0.3])
    assert 0 < separation(torch.tensor([1.0]), good) < separation(torch.tensor([2.0]), good) < float("inf")


def test_overlap_is_aupro_of_one_region_against_good_images():
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 16), bool)
    mask[3:9, 4:10] = True
    anomaly_map = (rng.normal(size=(16, 16)) + 1.2 * mask).astype(np.float32)
    good = rng.normal(size=(400, 16, 16)).astype(np.float32)
    found = overlap(torch.from_numpy(anomaly_map)[None], torch.from_numpy(mask).float()[None], torch.from_numpy(good))
    elsewhere = np.where(mask, anomaly_map, good[0])  # only the good images' cells may be false positives
    maps = np.concatenate([elsewhere[None], good[1:]])
    expected = aupro(maps, [mask, *np.zeros((399, 16, 16), bool)], 0.3)
    assert found == pytest.approx(expected, abs=0.01)


def test_overlap_without_a_defective_cell_is_none():
    assert overlap(torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.2), torch.zeros(2, 4, 4)) is None


def blinded(levels: tuple[Tensor, ...], layer: slice, seed: int) -> tuple[Tensor, ...]:
    """Levels whose fine layer `layer` shows nothing but noise."""
    fine = levels[0].clone()
    part = fine[..., layer, :, :]
    fine[..., layer, :, :] = 3 * torch.randn(part.shape, generator=torch.Generator().manual_seed(seed))
    return (fine, *levels[1:])


def test_a_layer_of_noise_is_not_what_a_line_is_judged_by():
    line = ToyLine(3)
    support = line.support(k=4, m=2)
    parts = {name: getattr(support, name) for name in ("good", "augmented", "synthetic", "defects")}
    noisy = replace(
        support, **{name: blinded(levels, slice(0, 4), seed) for seed, (name, levels) in enumerate(parts.items())}
    )
    found = AutoLearner(SPEC, AutoConfig()).choose(noisy, seed=0)
    image_rule, map_rule = found.choices
    for rule, weights in ((image_rule, found.head.image_weights), (map_rule, found.head.map_weights)):
        assert set(rule.evidence) == {ALL_LAYERS, "a", "b", "c"}
        assert rule.chosen != "a"
        assert rule.evidence["a"] == min(rule.evidence.values())
        alone = [float(name == rule.chosen) for name in ("a", "b", "c")]
        assert weights.tolist() == (pytest.approx([1 / 3] * 3) if rule.chosen == ALL_LAYERS else alone)


def test_image_score_and_map_follow_their_own_rules():
    line = ToyLine(5)
    head = AutoLearner(SPEC, AutoConfig()).adapt(line.support(), seed=0)
    head.image_weights, head.map_weights = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    levels = line.query().levels
    output, ratios = head(*levels), head.ratios(levels)
    assert torch.allclose(output.anomaly_map, ratios[:, 2].log(), atol=1e-5)
    assert not torch.allclose(output.image_score, output.anomaly_map.flatten(1).amax(1), atol=0.1)


def test_a_large_coreset_is_chosen_among_eight_candidates_for_each_row():
    vectors = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    rows = coreset(vectors, 50, seed=1)
    assert len(set(rows.tolist())) == 50
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, coreset(vectors, 50, seed=1))
    random = torch.arange(50)
    assert torch.cdist(vectors, vectors[rows]).amin(1).max() < torch.cdist(vectors, vectors[random]).amin(1).max()


@pytest.mark.parametrize(("side", "sizes"), [(640, (256, 512)), (500, (256, 384)), (300, (256,)), (96, (256,))])
def test_no_size_beside_the_default_enlarges_an_image(tmp_path: Path, side: int, sizes: tuple[int, ...]):
    line = load_line(write_line(tmp_path, 1, good=1, test_good=0, defects=1, size=side))
    assert candidate_sizes([*line.train_good, *line.defects]) == sizes


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen from, small enough for a test."""
    for module in (scales, bench_module):
        monkeypatch.setattr(module, "DEFAULT_SIZE", 64)
    monkeypatch.setattr(scales, "LARGER_SIZES", (256, 128))


def test_the_chosen_size_and_its_evidence_stand_in_the_card(tmp_path: Path, small_sizes: None):
    settings = load_settings(tmp_path / "home")
    images = write_line(tmp_path, 2, good=4, test_good=0, defects=4, size=160)
    manifest = adapt.run(AdaptRequest(line="chosen", images=images), settings).bundle.manifest
    size, image_rule, map_rule = manifest.choices
    assert set(size.evidence) == {"64 px", "128 px"}
    assert size.chosen == max(size.evidence, key=lambda name: size.evidence[name])
    assert size.chosen == f"{manifest.preprocess.height} px"
    assert size.evidence[size.chosen] == image_rule.evidence[image_rule.chosen]
    assert map_rule.what == "anomaly map from"
    card = (settings.home / "lines").rglob("card.md")
    assert f"{size.chosen}, chosen from the support" in next(card).read_text()


def test_an_asked_for_size_is_kept(tmp_path: Path):
    settings = load_settings(tmp_path / "home")
    images = write_line(tmp_path, 2, good=3, test_good=0, defects=1, size=96)
    manifest = adapt.run(AdaptRequest(line="asked", images=images, size=64), settings).bundle.manifest
    assert manifest.preprocess.height == 64
    assert [choice.what for choice in manifest.choices] == ["image score from", "anomaly map from"]


def test_evaluation_lets_auto_choose_the_size_of_each_line(tmp_path: Path, small_sizes: None):
    for seed, side in ((1, 160), (2, 96)):
        write_line(tmp_path / "lines", seed, good=3, test_good=3, defects=4, size=side)
    request = EvaluateRequest(
        protocol=Protocol.TRAIN_TEST,
        train_lines=tmp_path / "lines",
        test_lines=tmp_path / "lines",
        learners=(LearnerName.AUTO,),
        good=2,
        defects=(0, 1),
        seeds=1,
    )
    settings = load_settings(tmp_path / "home")
    bench = Bench(request, settings, ignore_progress)
    (fold,) = protocol_folds(request, settings, ignore_progress)
    rows = list(few_shot.rows(bench, fold))
    assert [(row["line"], row["defects"]) for row in rows] == [(line.name, m) for line in fold.test for m in (0, 1)]
    assert all(0 <= row["image_auroc"] <= 1 for row in rows)
    learner = bench.trainer.train(fold, ["auto"])["auto"].learner
    for line in fold.test:
        side = len(read_native(line.train_good[0].path))
        adapted = bench.adapt("auto", learner, bench.support(bench.draw(line, 0), 2, 1, 0))
        assert adapted.eye.preprocess == adapted.view.preprocess
        assert adapted.eye.preprocess.height in ({64, 128} if side == 160 else {64})
