"""Adaptation with a folder of unlabelled images, from the folder to the card, the pictures and the next score."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from deploy.bundles.facts import all_facts
from deploy.bundles.registry import Registry
from flows import views
from flows.adapt import flow, job, show
from flows.adapt.job import AdaptResult
from flows.adapt.preview import preview
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.export.int8_gate import gate_images
from flows.open_backbone import open_backbone
from flows.score import job as score
from flows.taken_up import take_up_into
from flows.views import AdaptedLine
from model_zoo.learner_table import make_learner
from pipeline.errors import LineError
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.settings import Settings
from pipeline.storage import sha256_file
from pipeline.synthetic.lines import generate_line
from tests.flows.adapted_home import score_request
from tests.parts.line_on_disk import picture, save

SIZE, LINE = 64, "taken up"


class Folders(NamedTuple):
    line: Path
    unlabelled: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Four good images and two defects that are labelled; 20 good ones, four defects and a copy that are not."""
    root, rng = tmp_path_factory.mktemp("shift"), np.random.default_rng(0)
    part, _ = generate_line(8, size=SIZE).good(rng)
    for number in range(24 + 6):
        pixels = np.clip(part.astype(np.int16) + rng.integers(-12, 13, part.shape), 0, 255).astype(np.uint8)
        if number < 24:
            folder, name = "line/good" if number < 4 else "unlabelled", f"good {number:02}.png"
        else:
            column = 4 + 8 * (number - 24)
            pixels[20:32, column : column + 10] = 255 - pixels[20:32, column : column + 10]
            folder, name = "line/defect/spot" if number < 26 else "unlabelled/night", f"bad {number}.png"
        save(root / folder / name, pixels)
    _copy(root / "line/good/good 00.png", root / "unlabelled/copy.png")
    return Folders(root / "line", root / "unlabelled")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@pytest.fixture(scope="module")
def request_here(folders: Folders) -> AdaptRequest:
    return AdaptRequest(line=LINE, images=folders.line, unlabelled=folders.unlabelled, size=SIZE)


@pytest.fixture(scope="module")
def adapted(request_here: AdaptRequest, settings: Settings) -> AdaptResult:
    return job.run(request_here, settings)


def test_the_manifest_names_what_was_taken_up_and_what_was_not(adapted: AdaptResult, folders: Folders):
    support = adapted.bundle.manifest.support
    hashes = {sha256_file(path): path for path in folders.unlabelled.rglob("*.png")}
    taken, left_out = set(support.taken_up), set(support.not_taken_up)
    assert not taken & left_out
    assert {hashes[sha].name for sha in taken | left_out} == {path.name for path in hashes.values()} - {"copy.png"}
    assert len(support.taken_up) + len(support.not_taken_up) == 24
    assert len(taken) > 12
    assert {hashes[sha].name for sha in left_out} >= {f"bad {number}.png" for number in range(26, 30)}
    labelled = [sha256_file(path) for path in sorted((folders.line / "good").iterdir())]
    assert list(support.good[:4]) == labelled
    assert set(support.good[4:]) == taken
    assert len(support.good) == 4 + len(taken)
    assert adapted.remarks == ("1 unlabelled image is left out: it is equal to others or labelled.",)
    assert (adapted.good, adapted.defects) == (4, 2)


def test_the_report_agrees_with_the_manifest_highest_scores_first(adapted: AdaptResult):
    report, support = adapted.taken_up, adapted.bundle.manifest.support
    assert report is not None
    assert tuple(image.sha256 for image in report.taken) == support.taken_up
    assert tuple(image.sha256 for image in report.left_out) == support.not_taken_up
    scores = [image.score for image in report.images]
    assert scores == sorted(scores, reverse=True)
    assert all(image.taken == (image.score <= report.limit) for image in report.images)


def test_the_bank_numbers_its_images_as_the_manifest_does(adapted: AdaptResult):
    sources, pictures = adapted.bundle.bank_sources(), adapted.bundle.support_pictures
    assert sources is not None
    assert set(sources[:, 0].tolist()) <= set(range(len(adapted.bundle.manifest.support.good)))
    assert (sources[:, 0] >= 4).mean() > 0.5, "most rows are of images that were taken up"
    assert set(pictures) == set(sources[:, 0].tolist())


def test_where_some_labelled_images_left_patches_only_the_records_keep_the_support_s_numbers(
    folders: Folders, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(views, "images_in_full", lambda _spec, _tiles: 6)
    backbone = open_backbone("tf_efficientnet_lite0", SIZE, settings)
    records = [ImageRecord(path, LINE, "good") for path in sorted(folders.unlabelled.glob("good *.png"))]
    view = views.view_of(backbone, records[:12], (), seed=0)
    learner = make_learner("memory_bank", backbone.spec, seed=0)
    line = AdaptedLine(view, learner, learner.adapt(view.support, seed=0), ())
    better, report = take_up_into(line, records[12:], seed=0)
    support, good = better.view.support, better.view.good
    taken = len(report.taken)
    assert taken > 2
    assert (support.k, support.good_images, len(good)) == (6 + taken, 12 + taken, 12 + taken)
    assert good[:6] == view.good[:6]
    assert good[6 + taken :] == view.good[6:]
    assert support.further is not None

    def features(record: ImageRecord) -> np.ndarray:
        return backbone.extractor.extract(require_image(record.path, better.view.preprocess).pixels[None])[0][0]

    for number in (0, 6, 5 + taken):
        assert np.allclose(support.good[0][number].numpy(), features(good[number]), atol=1e-5)
    for row in (0, -1):
        image, _, y, x = support.further.sources[0][row].tolist()
        assert image >= 6 + taken
        assert np.allclose(support.further.vectors[0][row].numpy(), features(good[image])[:, y, x], atol=1e-5)


def test_the_threshold_rests_on_all_good_images_and_the_facts_say_so(adapted: AdaptResult):
    manifest = adapted.bundle.manifest
    taken = len(manifest.support.taken_up)
    assert adapted.threshold.sample_count == 4 + taken
    facts = {fact.key: fact.value for fact in all_facts(manifest)}
    assert facts["good"] == "4"
    assert facts["unlabelled"] == f"{taken} of 24 taken up as good; the others look unlike them"
    assert re.fullmatch(r"\d of 2, each scored by a model that was not shown it", facts["known_defects_passed"])
    assert facts["rate_interval"].endswith("%, on nine lines of ten: watch the rejects")
    assert facts["rate_shown"].startswith(f"no rate below {100 / (5 + taken):.3g}%")
    assert facts["unlabelled"] in adapted.bundle.card_path.read_text().replace("\\", "")


def test_what_was_taken_up_counts_as_adapted_from(
    adapted: AdaptResult, folders: Folders, settings: Settings, tmp_path: Path
):
    """By int8's gate and by the pictures of the artifact: it proves little of a head that learned from it."""
    support = adapted.bundle.manifest.support
    taken = sorted(path for path in folders.unlabelled.rglob("*.png") if sha256_file(path) in support.taken_up)
    for path in taken:
        _copy(path, tmp_path / "line/good" / path.name)
    new = {save(tmp_path / f"line/good/new {number}.png", picture(number)) for number in range(8)}
    good, _ = gate_images(load_line(tmp_path / "line"), support)
    assert {record.path for record in good} == new

    deployment = Registry(settings.home).deployment(LINE, adapted.bundle.manifest.version)
    for path in list(new)[2:]:
        path.unlink()
    seen = preview(deployment, tmp_path / "line")
    assert [shown.in_support for shown in seen] == [False, False, True, True]


def test_a_line_that_took_up_images_scores(adapted: AdaptResult, folders: Folders, settings: Settings):
    request = score_request(folders.line, line=LINE, images=folders.unlabelled)
    figures = score.run(request, settings).figures()
    assert figures["version"] == adapted.bundle.manifest.version
    assert figures["images"] == 25


def test_people_see_which_images_were_left_out_and_why(
    adapted: AdaptResult, request_here: AdaptRequest, capsys: pytest.CaptureFixture[str]
):
    assert show.show(request_here, adapted) == 0
    told = capsys.readouterr().out
    report = adapted.taken_up
    assert report is not None
    count = len(report.left_out)
    assert f"  Unlabelled images left out: {count}, as {report.reason}\n" in told
    named = re.findall(r"^    (.+\.png): ([\d.]+)$", told, re.MULTILINE)
    assert [name for name, _ in named] == [
        image.path.relative_to(request_here.unlabelled or "").as_posix() for image in report.left_out[:5]
    ]
    assert named[0][0].startswith("night/bad")
    assert bool(re.search(r"^    and \d+ more$", told, re.MULTILINE)) == (count > 5)

    many = replace(report, images=tuple(replace(image, taken=False) for image in report.images))
    show.show(request_here, replace(adapted, taken_up=many))
    assert "    and 19 more\n" in capsys.readouterr().out
    none = replace(report, images=report.taken)
    show.show(request_here, replace(adapted, taken_up=none))
    assert "left out" not in capsys.readouterr().out


def test_the_artifact_pictures_them(adapted: AdaptResult, request_here: AdaptRequest, settings: Settings):
    deployment = Registry(settings.home).deployment(LINE, adapted.bundle.manifest.version)
    report = adapted.taken_up
    assert report is not None
    section = flow._left_out(request_here, adapted, deployment)
    taken, left_out = len(report.taken), len(report.left_out)
    assert section.startswith("## Unlabelled images left out\n\n")
    assert f"{taken} of 24 unlabelled images are taken up as good. {left_out} " in section
    assert report.reason in section
    assert section.count("![heat map of night bad") == 4
    assert section.count("![heat map of") == left_out

    many = replace(report, images=tuple(replace(image, taken=False) for image in report.images))
    section = flow._left_out(request_here, replace(adapted, taken_up=many), deployment)
    assert section.count("![heat map of") == 12
    assert "The 12 with the highest scores:" in section
    none = replace(report, images=report.taken)
    assert flow._left_out(request_here, replace(adapted, taken_up=none), deployment) == ""


def test_a_limit_draws_some_of_them_and_the_memory_bank_takes_up_too(
    request_here: AdaptRequest, settings: Settings, folders: Folders
):
    changes = {"line": "few", "max_unlabelled": 6, "learner": LearnerName.MEMORY_BANK}
    result = job.run(request_here.model_copy(update=changes), settings)
    support = result.bundle.manifest.support
    assert len(support.taken_up) + len(support.not_taken_up) == 6
    assert "6 unlabelled images are used, drawn by the seed from 25 files." in result.remarks


def test_a_missing_folder_is_told_before_anything_is_registered(
    request_here: AdaptRequest, settings: Settings, tmp_path: Path
):
    changes = {"line": "nowhere", "unlabelled": tmp_path / "nowhere"}
    with pytest.raises(LineError, match="expected a folder of unlabelled images"):
        job.run(request_here.model_copy(update=changes), settings)
    assert "nowhere" not in Registry(settings.home).lines()


def test_where_nothing_is_taken_up_the_threshold_is_that_of_the_labelled_images(
    folders: Folders, settings: Settings, tmp_path: Path
):
    """With what other lines say of it, which is of supports without take-up."""
    _copy(folders.unlabelled / "night/bad 29.png", tmp_path / "bad.png")
    request = AdaptRequest(line="alone", images=folders.line, learner=LearnerName.IN_CONTEXT)
    labelled = job.run(request, settings)
    found = job.run(request.model_copy(update={"unlabelled": tmp_path}), settings)
    assert found.taken_up is not None
    assert not found.taken_up.taken
    assert found.threshold.method == labelled.threshold.method
    assert found.threshold.reject == pytest.approx(labelled.threshold.reject)
