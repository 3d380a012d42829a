"""The default learner: what whitening and real defects add, and what the support chooses by which evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows import views as scales
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.evaluate.request import EvaluateRequest, Protocol
from flows.evaluate.scenarios import bench as bench_module
from flows.evaluate.scenarios import few_shot
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.folds import protocol_folds
from flows.open_backbone import open_backbone
from flows.progress import ignore_progress
from flows.views import candidate_sizes
from model_zoo.heads.bank import coreset
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.heads.task_head import image_score
from model_zoo.heads.whitening import Whitening
from model_zoo.learners.auto import AutoLearner
from model_zoo.learning.auto_head import AutoConfig, AutoHead
from model_zoo.learning.separation import overlaps, separation
from pipeline.episodes import QuerySet, SupportSet
from pipeline.features import FeatureGroup
from pipeline.head_calibration import calibrate_head
from pipeline.imaging.images import read_native
from pipeline.input_size import InputSize
from pipeline.metrics import aupro, image_auroc
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line
from tests.parts.episodes import SPEC, ToyLine


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
    maps, fractions = torch.from_numpy(np.stack([anomaly_map] * 2)), torch.from_numpy(np.stack([mask, 0.2 * mask]))
    found = overlaps(maps, fractions.float(), torch.from_numpy(good))
    elsewhere = np.where(mask, anomaly_map, good[0])  # only the good images' cells may be false positives
    expected = aupro(np.concatenate([elsewhere[None], good[1:]]), [mask, *np.zeros((399, 16, 16), bool)], 0.3)
    assert float(found[0]) == pytest.approx(expected, abs=0.01)
    assert found[1].isnan(), "no cell of it is a quarter defective"


def test_whitened_good_patches_have_unit_covariance_group_by_group():
    support = ToyLine(3).support(k=4, a=3)
    shared = (FeatureGroup(name="a", level=0, start=0, stop=4), FeatureGroup(name="b", level=0, start=4, stop=10))
    groups = level_groups(replace(SPEC, groups=(*shared, SPEC.groups[-1])))
    seen = Whitening(support, groups).of_support(support)
    patches = torch.cat([seen.good[0], seen.augmented[0].flatten(0, 1)]).transpose(0, 1).flatten(1)
    raw = torch.cat([support.good[0], support.augmented[0].flatten(0, 1)]).transpose(0, 1).flatten(1)
    for start, stop in groups[0]:
        variances = torch.linalg.eigvalsh(torch.cov(patches[start:stop]))
        before = torch.linalg.eigvalsh(torch.cov(raw[start:stop]))
        expected = before / (before + 0.1 * before.mean() + 1e-4)  # the shrinkage that the module states
        assert torch.allclose(variances.sort().values, expected.sort().values, atol=1e-3)
    other = torch.cat([seen.good[0][:, :4], support.good[0][:, 4:]], 1)
    alone = Whitening(support, groups)(torch.cat([support.good[0][:, :4], 0 * other[:, 4:]], 1), support.good[1])[0]
    assert torch.allclose(alone[:, :4], seen.good[0][:, :4], atol=1e-5), "one group does not leak into another"


def test_whitening_of_images_that_are_all_alike_is_finite():
    support = ToyLine(3).support(k=2, a=1)
    same = replace(support, **{n: tuple(0 * level for level in getattr(support, n)) for n in ("good", "augmented")})
    assert all(torch.isfinite(level).all() for level in Whitening(same, level_groups(SPEC))(*support.good))


def auroc(support: SupportSet, query: QuerySet) -> float:
    output = AutoLearner(SPEC, AutoConfig()).adapt(support, seed=0)(*query.levels)
    return image_auroc(output.image_score.numpy(), query.labels.numpy())


def test_a_few_faint_defects_show_the_way_to_others_of_their_kind():
    gains = []
    for seed in (11, 12, 13):
        line = ToyLine(seed, shift=0.3)
        support, query = line.support(k=4, m=6), line.query(good=40, bad=40)
        defects = tuple(level[:0] for level in support.defects)
        nothing = replace(
            support, defects=defects, defect_masks=support.defect_masks[:0], has_mask=support.has_mask[:0]
        )
        gains.append(auroc(support, query) - auroc(nothing, query))
    assert min(gains) > 0
    assert np.mean(gains) > 0.04


def test_without_defects_the_direction_adds_nothing_and_with_them_only_to_what_is_out_of_the_ordinary():
    line = ToyLine(5)
    query = line.query()
    for m, count in ((0, 0.0), (1, 0.05), (4, 0.1)):
        head = AutoLearner(SPEC, AutoConfig()).adapt(line.support(m=m), seed=0)
        assert isinstance(head, AutoHead)
        assert float(head.direction.strength) == pytest.approx(count)
        levels = head.whitening(*query.levels)
        matches = head.bank.match(levels)
        residuals = tuple(match.residuals for match in matches)
        added = head.direction(levels, residuals, head.bank.grid)
        assert float(added.min()) >= 0
        assert float(added.max()) <= 9 * count + 1e-6
        assert torch.allclose(head(*query.levels).anomaly_map, head.bank.anomaly_map(matches) + added)
        if m:
            inside = added[query.masks > 0.5].mean()
            assert inside > 4 * added[:6].mean(), "good images are the first six"


@pytest.mark.parametrize(("k", "left_out"), [(3, [1]), (7, [1, 6])])
def test_a_good_image_is_scored_by_a_head_that_never_saw_it(k: int, left_out: list[int]):
    """Whitening and direction know the images they were fitted to, not only the bank does."""
    support, learner = ToyLine(5).support(k=k, m=2, n=2 * k), AutoLearner(SPEC, AutoConfig())
    rest = support.without_good(left_out)
    assert rest.k == k - len(left_out)
    kept = [i for i, parent in enumerate(support.synthetic_parents.tolist()) if parent not in left_out]
    for new, old in zip(rest.synthetic_parents, support.synthetic_parents[kept], strict=True):
        assert torch.equal(rest.good[0][new], support.good[0][old])
    output = learner.adapt(support, seed=0).leave_one_out(support)
    expected = learner.adapt(rest, seed=0)(*(level[left_out] for level in support.good))
    assert torch.allclose(output.image_score[left_out], expected.image_score, atol=1e-5)
    assert torch.allclose(output.anomaly_map[left_out], expected.anomaly_map, atol=1e-5)


def test_a_defect_that_is_left_out_scores_as_by_a_head_of_the_others():
    support, learner = ToyLine(5, shift=0.6).support(k=6, m=3), AutoLearner(SPEC, AutoConfig())
    head = learner.adapt(support, seed=0)
    alone = head.leave_one_defect_out(support)
    assert alone is not None
    known = head(*support.defects).image_score
    assert (alone < known).all(), "a defect that is known stands out more"
    for index in range(3):
        others = [other for other in range(3) if other != index]
        expected = learner.adapt(support.with_defects(others), seed=0)(*support.with_defects([index]).defects)
        assert float(alone[index]) == pytest.approx(float(expected.image_score), abs=1e-4)


def test_the_only_defect_scores_by_distance_alone():
    support, learner = ToyLine(5).support(k=6, m=1), AutoLearner(SPEC, AutoConfig())
    alone = learner.adapt(support, seed=0).leave_one_defect_out(support)
    without = learner.adapt(support.with_defects(()), seed=0)(*support.defects).image_score
    assert alone is not None
    assert torch.allclose(alone, without, atol=1e-4)
    nothing = support.with_defects(())
    none = learner.adapt(nothing, seed=0).leave_one_defect_out(nothing)
    assert none is not None
    assert none.shape == (0,)


def test_of_twenty_defects_each_is_left_out_with_others_and_scored_once():
    support, learner = ToyLine(5, shift=0.6).support(k=6, m=20), AutoLearner(SPEC, AutoConfig())
    head = learner.adapt(support, seed=0)
    alone = head.leave_one_defect_out(support)
    assert alone is not None
    assert alone.shape == (20,)
    known = head(*support.defects).image_score
    assert (alone < known).sum() > 15, "with so many others a single one makes little difference"
    assert alone.mean() < known.mean()
    fold = [3, 11, 19]
    kept = support.with_defects([index for index in range(20) if index not in fold])
    expected = learner.adapt(kept, seed=0)(*support.with_defects(fold).defects).image_score
    assert torch.allclose(alone[fold], expected, atol=1e-4)


@pytest.mark.parametrize(("m", "higher"), [(0, 0.5), (1, 0.8), (4, 0.5 + 6 * 0.1)])
def test_the_only_good_image_is_scored_as_new_ones_are(m: int, higher: float):
    """It cannot be left out, so what new images score more is added."""
    support = ToyLine(5).support(k=1, m=m)
    head = AutoLearner(SPEC, AutoConfig()).adapt(support, seed=0)
    assert isinstance(head, AutoHead)
    levels = head.whitening(*support.good)
    matches = head.bank.match(levels, torch.arange(1))
    known = head.bank.anomaly_map(matches) + head.direction(
        levels, tuple(match.residuals for match in matches), head.bank.grid
    )
    output = head.leave_one_out(support)
    assert torch.allclose(output.anomaly_map, known + higher, atol=1e-5)
    assert torch.allclose(output.image_score, image_score(known) + higher, atol=1e-5)


def test_a_large_coreset_is_chosen_among_eight_candidates_for_each_row():
    vectors = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    rows = coreset(vectors, 50, seed=1)
    assert len(set(rows.tolist())) == 50
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, coreset(vectors, 50, seed=1))
    random = torch.arange(50)
    assert torch.cdist(vectors, vectors[rows]).amin(1).max() < torch.cdist(vectors, vectors[random]).amin(1).max()


def test_tokens_are_not_whitened():
    support, groups = ToyLine(3).support(), level_groups(SPEC)
    plain, kept = (Whitening(support, groups, tokens) for tokens in ((), (1,)))
    assert torch.equal(kept(*support.good)[0], plain(*support.good)[0])
    assert torch.equal(kept(*support.good)[1], support.good[1])
    assert torch.equal(kept.of_support(support).defects[1], support.defects[1])


@pytest.mark.parametrize(("side", "sizes"), [(640, (256, 512)), (500, (256, 384)), (300, (256,)), (96, (256,))])
def test_no_size_beside_the_default_enlarges_an_image(tmp_path: Path, side: int, sizes: tuple[int, ...]):
    line = load_line(write_line(tmp_path, 1, good=1, test_good=0, defects=1, size=side))
    assert candidate_sizes([*line.train_good, *line.defects]) == tuple(InputSize.of(size) for size in sizes)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen from, small enough for a test."""
    for module in (scales, adapt, bench_module):
        monkeypatch.setattr(module, "DEFAULT_SIZE", 64)
    monkeypatch.setattr(scales, "LARGER_SIZES", (256, 128))


def test_the_chosen_size_and_its_evidence_stand_in_the_card(tmp_path: Path, small_sizes: None):
    settings = load_settings(tmp_path / "home")
    images = write_line(tmp_path, 2, good=2, test_good=0, defects=4, size=160)
    manifest = adapt.run(AdaptRequest(line="chosen", images=images), settings).bundle.manifest
    (size,) = manifest.choices
    assert set(size.evidence) == {"64 px", "128 px"}
    assert size.chosen == max(size.evidence, key=lambda name: size.evidence[name])
    assert size.chosen == f"{manifest.preprocess.height} px"
    card = (settings.home / "lines").rglob("card.md")
    assert f"{size.chosen}, chosen from the support" in next(card).read_text()
    line, reject = load_line(images), {}
    for name in size.evidence:  # the threshold is that of the head, layers and size that were chosen
        backbone = open_backbone(manifest.backbone.name, int(name.split()[0]), settings)
        view = scales.view_of(backbone, line.train_good, line.defects, seed=0)
        head = AutoLearner(backbone.spec, AutoConfig()).adapt(view.support, seed=0)
        threshold = calibrate_head(head, view.support, 0.01, None).threshold
        reject[name] = threshold.reject, threshold.pixel
    assert (manifest.threshold.reject, manifest.threshold.pixel) == pytest.approx(reject.pop(size.chosen))
    assert (manifest.threshold.reject, manifest.threshold.pixel) != pytest.approx(*reject.values())


def test_an_asked_for_size_is_kept(tmp_path: Path):
    settings = load_settings(tmp_path / "home")
    images = write_line(tmp_path, 2, good=2, test_good=0, defects=1, size=96)
    manifest = adapt.run(AdaptRequest(line="asked", images=images, size=64), settings).bundle.manifest
    assert manifest.preprocess.height == 64
    assert manifest.choices == ()


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
        assert adapted.backbone.preprocess == adapted.view.preprocess
        assert adapted.backbone.preprocess.height in ({64, 128} if side == 160 else {64})
