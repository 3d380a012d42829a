"""Meta-training, adaptation and evaluation as jobs, on generated lines, with the real backbone at a small size."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.request import EvaluateRequest, Protocol
from flows.meta_train import job as meta_train
from flows.meta_train.request import MetaTrainRequest
from flows.progress import Progress
from model_zoo import shipped
from pipeline.augmentations import turned
from pipeline.errors import BundleError, ConfigError, LineError
from pipeline.imaging.images import require_image
from pipeline.meta_model import save_meta_model
from pipeline.settings import Settings
from pipeline.storage import sha256_file

SIZE = 64
KEYS = {
    "line",
    "learner",
    "good",
    "defects",
    "seed",
    "image_auroc",
    "image_ap",
    "pixel_auroc",
    "aupro",
    "f1_max",
    "false_reject_rate",
    "missed_defect_rate",
    "meta_train_seconds",
    "adapt_seconds",
    "score_ms",
}


def request(lines: Path, output: Path, **changes: object) -> MetaTrainRequest:
    fields = {"lines": lines, "size": SIZE, "iterations": 12, "good": 2, "defects": 2, "output": output}
    return MetaTrainRequest(**(fields | {"learner": LearnerName.HYPERNETWORK} | changes))


@pytest.fixture(scope="module")
def trained(lines: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> meta_train.MetaTrainResult:
    return meta_train.run(request(lines, tmp_path_factory.mktemp("run")), settings)


def new_line(lines: Path) -> Path:
    return next((lines / "two").iterdir())


def test_meta_training_leaves_a_model_its_request_and_its_losses(trained):
    assert len(trained.losses) == 12
    assert trained.model.lines == tuple(sorted(trained.model.lines))
    assert len(trained.model.lines) == 3
    assert trained.model.calibration is not None
    assert set(trained.model.calibration.deviations) == set(trained.model.lines)
    assert json.loads((trained.run / "request.json").read_text())["learner"] == "hypernetwork"


def test_meta_training_is_reproducible_and_can_be_resumed(trained, lines, settings, tmp_path):
    again = meta_train.run(request(lines, tmp_path / "again"), settings)
    assert again.losses == trained.losses
    assert again.model.identifier == trained.model.identifier
    resumed = meta_train.run(request(lines, tmp_path / "again", resume=True), settings)
    assert resumed.model.identifier == trained.model.identifier
    with pytest.raises(ConfigError, match="was started with"):
        meta_train.run(request(lines, tmp_path / "again", resume=True, seed=5), settings)


def test_two_processes_average_their_gradients(lines, settings, tmp_path):
    stopping = {"patience": 4, "validation_lines": lines / "two"}
    result = meta_train.run(request(lines, tmp_path / "run", processes=2, **stopping), settings)
    assert len(result.losses) == 12
    kept = result.model.early_stopping
    assert kept is not None
    assert 10 <= int(kept.split()[2].strip(",")) <= 12, "the first nine steps are pooled ones"
    assert kept in (result.folder / "card.md").read_text()
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert all(torch.equal(value, checkpoint["stopping"]["weights"][n]) for n, value in result.model.weights.items())
    assert np.isfinite(result.losses).all()
    with pytest.raises(ConfigError, match="lines to validate on"):
        meta_train.run(request(lines, tmp_path / "none", patience=2), settings)
    with pytest.raises(ConfigError, match="ask for fewer processes"):
        meta_train.run(request(lines, tmp_path / "many", processes=4), settings)


def test_adaptation_registers_a_live_verified_bundle(trained, lines, settings):
    seen: list[Progress] = []
    result = adapt.run(
        AdaptRequest(
            line="caps/7",
            images=new_line(lines),
            size=SIZE,
            good=2,
            defects=2,
            learner=LearnerName.HYPERNETWORK,
            meta_model=trained.folder,
        ),
        settings,
        seen.append,
    )
    manifest = result.bundle.manifest
    assert result.live
    assert (len(manifest.support.good), len(manifest.support.defects), manifest.support.masks) == (2, 2, 2)
    assert manifest.learner.meta_model == trained.model.identifier
    assert manifest.threshold.method == "pooled leave-one-out"
    assert manifest.lineage.training_lines == trained.model.lines
    assert 0 <= manifest.parity.max_score_error < manifest.parity.tolerance
    assert manifest.parity.images == 4
    assert len(result.bundle.support_paths) == 2
    sources = result.bundle.bank_sources()
    assert sources is not None
    assert sources[:, 0].max() <= 1
    assert (seen[0].done, seen[-1].done) == (0, seen[-1].total)


def test_a_turned_part_is_nearer_to_the_good_ones_where_parts_lie_at_any_angle(lines, settings):
    images, scores = new_line(lines), {}
    for any_angle in (False, True):
        asked = {"line": f"angle{any_angle}", "images": images, "size": SIZE, "good": 2, "defects": 0}
        request = AdaptRequest(**asked, any_angle=any_angle)
        bundle = adapt.run(request, settings).bundle
        named = bundle.manifest.learner.config["augmentations"]
        assert ("rot30" in named) == any_angle
        assert {"hflip", "vflip", "rot180"} <= set(named)
        engine = ScoringEngine(Registry(settings.home).deployment(request.line).backbone, "cpu")
        engine.add_head("head", bundle.head_path)
        good = require_image(bundle.support_paths[0], bundle.manifest.preprocess).pixels
        scores[any_angle] = engine.score("head", turned(good, 60)[None]).image_score[0]
    assert scores[True] < scores[False] - 0.1


def test_a_shipped_meta_model_is_used_and_gives_way_to_the_bank_where_it_is_worse_and_the_card_says_so(
    trained, lines, settings, tmp_path, monkeypatch
):
    weights = {name: value for name, value in trained.model.weights.items() if name.startswith(("trunk.", "theta0"))}
    weights["theta0"] = torch.zeros_like(weights["theta0"])
    weights["theta0"][-1] = -2.0  # what is far from normal now passes for good
    save_meta_model(dataclasses.replace(trained.model, learner="in_context", weights=weights), tmp_path / "in_context")
    pinned = {"in_context": sha256_file(tmp_path / "in_context" / "meta.json")}
    for name, value in (("FOLDER", tmp_path), ("SHIPPED", pinned)):
        monkeypatch.setattr(shipped, name, value)
    request = AdaptRequest(
        line="fallen",
        images=new_line(lines),
        size=SIZE,
        good=2,
        defects=0,
        learner=LearnerName.IN_CONTEXT,
    )
    manifest = adapt.run(request, settings).bundle.manifest
    assert manifest.learner.meta_model == f"{trained.model.identifier}, shipped with Linewise"
    assert manifest.lineage.training_lines == trained.model.lines
    (choice,) = manifest.choices
    assert choice.chosen == "memory_bank"
    assert set(choice.evidence) == {"in_context", "memory_bank"}
    (card,) = (settings.home / "lines").glob("fallen*/**/card.md")
    assert "memory_bank, chosen from the support" in card.read_text()
    assert manifest.threshold.method == "pooled leave-one-out"
    request = request.model_copy(update={"line": "bank", "learner": LearnerName.MEMORY_BANK})
    bank = adapt.run(request, settings).bundle.manifest
    assert manifest.threshold.pixel == pytest.approx(bank.threshold.pixel)


def test_a_second_adaptation_names_the_first_as_its_parent(lines, settings):
    first, second = (
        adapt.run(AdaptRequest(line="twice", images=new_line(lines), size=SIZE, good=2, defects=0), settings)
        for _ in range(2)
    )
    assert second.bundle.manifest.lineage.parent == first.bundle.manifest.version


def test_what_adaptation_refuses(trained, lines, settings, tmp_path):
    def run(**changes: object) -> None:
        fields = {"line": "refused", "images": new_line(lines), "size": SIZE} | changes
        adapt.run(AdaptRequest(**fields), settings)

    worked: list[Progress] = []
    with pytest.raises(ConfigError, match="a line's name"):
        adapt.run(AdaptRequest(line="../other", images=new_line(lines)), settings, worked.append)
    assert worked == [], "refused before the work"
    with pytest.raises(ConfigError, match="a meta-model for the learner maml, got none"):
        run(learner=LearnerName.MAML)
    with pytest.raises(ConfigError, match="one for tf_efficientnet_lite0 at 256 px"):
        run(learner=LearnerName.IN_CONTEXT)  # the one that ships
    with pytest.raises(ConfigError, match="one of hypernetwork"):
        run(learner=LearnerName.MAML, meta_model=trained.folder)
    with pytest.raises(ConfigError, match="meta-train again"):
        run(learner=LearnerName.HYPERNETWORK, meta_model=trained.folder, size=128)  # a size that other tests export
    with pytest.raises(BundleError, match="a meta-model in"):
        run(learner=LearnerName.HYPERNETWORK, meta_model=tmp_path)
    cut = {name: value for name, value in trained.model.weights.items() if name != "theta0"}
    save_meta_model(dataclasses.replace(trained.model, weights=cut), tmp_path / "cut")
    with pytest.raises(BundleError, match=r"the meta-parameters of hypernetwork in .*/cut, got others: meta-train ag"):
        run(learner=LearnerName.HYPERNETWORK, meta_model=tmp_path / "cut")
    with pytest.raises(LineError):
        run(images=tmp_path)
    with pytest.raises(ConfigError, match="backbone"):
        run(backbone="tf_efficientnet_light0")
    shutil.copytree(new_line(lines), tmp_path / "line")
    for broken in (tmp_path / "line" / "train" / "good").iterdir():
        broken.write_bytes(b"no image")
    with pytest.raises(LineError, match="good training images that can be read, got none in"):
        run(images=tmp_path / "line")


def test_a_deep_mono_line_is_scored_at_the_white_level_of_its_camera(lines, settings, tmp_path):
    """12-bit pixels in 16-bit files give the features of the same scene in 8 bits."""
    for index, path in enumerate(sorted((new_line(lines) / "train" / "good").iterdir())[:2]):
        grey = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)
        for name, pixels in (("eight", grey), ("twelve", np.minimum(grey.astype(np.uint16) * 16 + 15, 4095))):
            (tmp_path / name / "good").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / name / "good" / f"{index}.tiff"), pixels)
    bundles = {
        name: adapt.run(AdaptRequest(line=name, images=tmp_path / name, size=SIZE), settings).bundle.manifest
        for name in ("eight", "twelve")
    }
    assert bundles["eight"].preprocess.white_level is None
    assert bundles["twelve"].preprocess.white_level == 4095
    assert bundles["twelve"].threshold.reject == pytest.approx(bundles["eight"].threshold.reject, abs=0.1)


def test_evaluation_has_a_row_for_every_line_learner_number_of_defects_and_seed(lines, settings):
    result = evaluate.run(
        EvaluateRequest(
            lines=lines,
            protocol=Protocol.LEAVE_ONE_DATA_SET_OUT,
            learners=(LearnerName.MEMORY_BANK, LearnerName.IN_CONTEXT, LearnerName.MAML),
            good=2,
            defects=(0, 2),
            seeds=2,
            size=SIZE,
            iterations=10,
        ),
        settings,
    )
    cells = {(row["line"], row["learner"], row["defects"], row["seed"]) for row in result.rows}
    assert len(cells) == len(result.rows) == 3 * 3 * 2 * 2
    assert all(row.keys() >= KEYS for row in result.rows)
    assert all(0 <= row["image_auroc"] <= 1 and row["score_ms"] > 0 for row in result.rows)
    bank = {row["image_auroc"] for row in result.rows if row["learner"] == "memory_bank" and row["seed"] == 0}
    assert len(bank) <= 3, "the memory bank does not use defects: one figure a line and seed"


def test_evaluation_on_a_line_with_few_images_and_no_masks_says_so_in_the_row(lines, settings, tmp_path):
    target = tmp_path / "lines" / "bare"
    source = new_line(lines)
    shutil.copytree(source / "train" / "good", target / "good")
    for kind in (source / "test").iterdir():
        if kind.name != "good":
            shutil.copytree(kind, target / "defect", dirs_exist_ok=True)
    result = evaluate.run(
        EvaluateRequest(
            protocol=Protocol.TRAIN_TEST,
            train_lines=lines / "one",
            test_lines=tmp_path / "lines",
            learners=(LearnerName.MEMORY_BANK,),
            good=40,
            defects=(0, 30),
            seeds=1,
            size=SIZE,
            iterations=10,
        ),
        settings,
    )
    row = result.rows[-1]
    assert "of 40 good images" in row["note"]
    assert "of 30 defective images" in row["note"]
    assert "no masks" in row["note"]
    assert np.isnan(row["aupro"])


def test_lines_without_defects_pool_thresholds_but_train_no_meta_learner(lines, settings, tmp_path):
    target = tmp_path / "lines" / "good_only"
    shutil.copytree(new_line(lines) / "train" / "good", target / "good")
    pooled = meta_train.run(request(tmp_path / "lines", tmp_path / "bank", learner=LearnerName.MEMORY_BANK), settings)
    assert pooled.model.calibration is not None
    assert pooled.model.lines == ("good_only",)
    with pytest.raises(LineError, match="product lines with defective images"):
        meta_train.run(request(tmp_path / "lines", tmp_path / "run"), settings)
