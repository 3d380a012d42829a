"""Adaptation to hundreds of images: all are used, what is held of them is bounded, and what is left out is told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deploy.scoring.pictures import support_view
from flows import views
from flows.adapt import bundling, job
from flows.adapt.job import AdaptResult
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.held_images import images_in_full
from flows.open_backbone import open_backbone
from flows.progress import Progress
from flows.views import adapt_at_best_size, drawn_evenly, view_of
from model_zoo.learner_table import make_learner
from model_zoo.learning.task_learner import TaskLearner
from pipeline.errors import ConfigError
from pipeline.imaging.images import require_image
from pipeline.patch_samples import HELD, ROWS
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.settings import Settings
from pipeline.storage import sha256_file
from pipeline.support import SupportConfig
from pipeline.synthetic.lines import generate_line

SIZE, GOOD, DEFECTS = 64, 300, 40


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of 300 good images and 40 defects of two kinds, 36 and 4."""
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    part, _ = generate_line(8, size=SIZE).good(rng)
    for index in range(GOOD + DEFECTS):
        pixels = np.clip(part.astype(np.int16) + rng.integers(-12, 13, part.shape), 0, 255).astype(np.uint8)
        kind = "good" if index < GOOD else "defect/spot" if index < GOOD + 36 else "defect/scratch"
        if kind != "good":
            pixels[20:32, 8 + index % 40 : 18 + index % 40] = 255 - pixels[20:32, 8 + index % 40 : 18 + index % 40]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / kind / f"{index:04}.png"), pixels)
    return folder


@pytest.fixture(scope="module")
def adapted(many: Path, settings: Settings) -> tuple[AdaptResult, list[Progress]]:
    told: list[Progress] = []
    return job.run(AdaptRequest(line="many", images=many, size=SIZE), settings, told.append), told


def test_all_images_are_in_the_manifest_and_the_bank_knows_those_beyond_what_is_held(adapted, many: Path):
    result, _ = adapted
    support = result.bundle.manifest.support
    assert (result.good, result.defects, result.remarks) == (GOOD, DEFECTS, ())
    assert set(support.good) == {sha256_file(path) for path in (many / "good").iterdir()}
    assert len(support.good) == GOOD
    assert len(support.defects) == DEFECTS
    sources = result.bundle.bank_sources()
    assert sources is not None
    assert (sources[:, 1] == -1).all(), "flips stand in for images that are missing: here none are"
    further = (sources[:, 0] >= HELD).mean()
    assert abs(further - (GOOD - HELD) / GOOD) < 0.1
    assert result.threshold.sample_count == HELD
    assert result.peak_mib > 100


def test_pictures_lie_under_the_numbers_that_the_bank_counts_its_images_by(adapted, many: Path):
    bundle = adapted[0].bundle
    manifest, pictures = bundle.manifest, bundle.support_pictures
    files = {sha256_file(path): path for path in (many / "good").iterdir()}
    sources = bundle.bank_sources()
    assert sources is not None
    assert set(pictures) <= set(sources[:, 0].tolist())
    assert len(pictures) <= 256
    beyond = max(pictures)
    assert beyond >= HELD
    show = support_view(bundle)
    for number in (0, beyond):
        pixels = require_image(files[manifest.support.good[number]], manifest.preprocess).pixels
        shown = show(number, -1)
        assert shown is not None
        assert np.abs(shown.astype(int) - pixels).mean() < 12
    missing = next(iter(set(range(GOOD)) - set(pictures)))
    assert show(missing, -1) is None


def test_pictures_are_those_of_most_rows_and_their_names_may_have_four_digits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundling, "_PICTURES", 2)
    assert bundling._pictured(torch.tensor([[1200, -1, 0, 0], [7, -1, 0, 0], [1200, -1, 0, 1], [9, -1, 0, 0]])) == [
        7,
        1200,
    ]


def test_progress_says_how_many_of_how_many_images_are_read(adapted):
    _, told = adapted
    stages = [step.stage for step in told]
    assert f"adapt: adapt, {GOOD + DEFECTS} of {GOOD + DEFECTS} images read" in stages
    assert "adapt: adapt, 100 of 340 images read" in stages
    assert (told[0].done, told[-1].done) == (0, told[-1].total)


def test_what_a_support_holds_is_bounded_however_many_images_there_are(many: Path, settings: Settings):
    line, backbone = load_line(many), open_backbone("tf_efficientnet_lite0", SIZE, settings)
    view = view_of(backbone, line.train_good, (), seed=0)
    further = view.support.further
    assert further is not None
    assert (view.support.k, view.support.good_images) == (HELD, GOOD)
    views_count = GOOD - HELD
    assert all(len(vectors) <= ROWS + views_count for vectors in further.vectors)
    assert {record.path for record in view.good} == {record.path for record in line.train_good}
    image = int(further.sources[0][-1, 0])
    pixels = require_image(view.good[image].path, view.preprocess).pixels
    level = backbone.extractor.extract(pixels[None])[0]
    _, _, row, column = further.sources[0][-1].tolist()
    assert np.array_equal(further.vectors[0][-1].numpy(), level[0, :, row, column])
    large = open_backbone("tf_efficientnet_lite0", 128, settings).spec
    assert images_in_full(large) == HELD


def test_equal_seeds_give_equal_heads_and_others_hold_other_images(many: Path, settings: Settings):
    line, backbone = load_line(many), open_backbone("tf_efficientnet_lite0", SIZE, settings)
    heads = []
    for seed in (1, 1, 2):
        view = view_of(backbone, line.train_good, line.defects[:3], seed=seed)
        heads.append(make_learner("auto", backbone.spec, seed=0).adapt(view.support, seed=seed))
    first, second, third = (head.state_dict() for head in heads)
    assert all((first[name] == second[name]).all() for name in first)
    assert any(first[name].shape != third[name].shape or (first[name] != third[name]).any() for name in first)


def test_parts_at_any_angle_leave_patches_of_turned_views_too(many: Path, settings: Settings):
    line, backbone = load_line(many), open_backbone("tf_efficientnet_lite0", SIZE, settings)
    view = view_of(backbone, line.train_good[:40], (), config=views.ANY_ANGLE, seed=0)
    assert not {"hflip", "vflip"} & set(view.config.augmentations)
    assert (view.support.k, view.support.good_images, view.support.augmented[0].shape[1]) == (40, 40, 0)
    assert view.support.further is not None
    assert view.support.further.views == 176
    head = make_learner("auto", backbone.spec, seed=0).adapt(view.support, seed=0)
    assert head.bank_sources[:, 1].max() < len(view.config.augmentations)
    assert 0.7 < (head.bank_sources[:, 1] >= 0).float().mean() < 0.9  # 176 of 216 views
    assert np.isfinite(head.leave_one_out(view.support).image_score.numpy()).all()


def test_flips_stand_in_up_to_eleven_images():
    flips = SupportConfig().augmentations
    assert SupportConfig().for_count(11).augmentations == flips
    assert SupportConfig().for_count(12).augmentations == ()
    assert views.ANY_ANGLE.for_count(11) == views.ANY_ANGLE
    assert len(views.ANY_ANGLE.for_count(12).augmentations) == 11


def test_the_size_is_chosen_by_a_few_images_and_all_are_read_at_the_chosen_one(many: Path, settings: Settings):
    line = load_line(many)
    backbones = [open_backbone("tf_efficientnet_lite0", size, settings) for size in (SIZE, 96)]
    told: list[tuple[int, int]] = []
    adapted = adapt_at_best_size(
        make_learner("auto", backbones[0].spec, seed=0),
        backbones,
        line.train_good,
        line.defects,
        config=SupportConfig(),
        white_level=None,
        bayer=None,
        seed=0,
        on_read=lambda read, of: told.append((read, of)),
    )
    assert [choice.what for choice in adapted.choices] == ["input size"]
    assert f"{adapted.view.preprocess.height} px" == adapted.choices[0].chosen
    assert len(adapted.view.good) == GOOD
    assert told[-1] == (2 * (32 + 32) + GOOD + DEFECTS,) * 2


def test_a_learner_that_cannot_take_all_defects_is_given_some_and_says_so(
    many: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TaskLearner, "most_defects", 10)
    request = AdaptRequest(line="fewer", images=many, size=SIZE, learner=LearnerName.TRANSFER, good=20)
    result = job.run(request, settings)
    assert (result.good, result.defects) == (20, 10)
    assert result.remarks == (
        "10 of 40 defective images are used, drawn by the seed and evenly over their kinds: "
        "the learner transfer takes no more.",
    )
    asked = job.run(request.model_copy(update={"defects": 4}), settings)
    assert (asked.defects, asked.remarks) == (4, ())


def test_defects_are_drawn_evenly_over_their_kinds():
    records = [ImageRecord(Path(f"{index:03}.png"), "line", "spot" if index < 90 else "dent") for index in range(100)]
    drawn = drawn_evenly(records, 30, seed=0)
    assert [record.path.name for record in drawn] == sorted(record.path.name for record in drawn)
    assert sum(record.kind == "dent" for record in drawn) == 10
    assert sum(record.kind == "dent" for record in drawn_evenly(records, 8, seed=0)) == 4
    assert drawn_evenly(records, 100, seed=0) == records


def test_more_images_than_adaptation_takes_are_refused_in_a_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match="5000"):
        AdaptRequest.asked(line="a", images=tmp_path, good=5001)
