"""The plant's own meta-model from its registry to a line adapted with it, with real training on small lines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.bundles.registry import Registry
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.adapt import job as adapt_job
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.meta_train_plant import job
from flows.meta_train_plant.job import MetaTrainPlantResult
from flows.meta_train_plant.request import MetaTrainPlantRequest
from flows.plant_meta_models import PlantMetaModels
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings
from tests.flows.meta_train_plant.blotched_lines import SIZE, register_as, write_blotched_line

LEARNER = LearnerName.SHARED_DIRECTION


def learn(folder: Path, settings: Settings, **changes: Any) -> MetaTrainPlantResult:
    few: dict[str, Any] = {"size": SIZE, "iterations": 60, "good": 2, "defects": 1, "folds": 2, "draws": 1}
    return job.run(MetaTrainPlantRequest(folder=folder, **{**few, **changes}), settings)


@pytest.mark.timeout(900)
def test_it_goes_live_where_held_out_lines_bear_it_out_and_lines_are_adapted_with_it(
    tmp_path: Path, home: Path
) -> None:
    settings, plant = load_settings(), tmp_path / "plant"
    first = write_blotched_line(plant / "line0", 0, good=8, defects=5)
    shot = write_blotched_line(tmp_path / "shots", 9, good=1, defects=0) / "good" / "00.png"
    adapt_job.run(AdaptRequest(line="line0", images=first, size=SIZE, good=2, defects=1), settings)
    registry, shelf = Registry(home), PlantMetaModels(settings, LEARNER.value)
    for number in range(1, 5):
        register_as(registry, "line0", f"line{number}")
    with ResultStore(settings.database) as store:
        store.add_verdicts([verdict_on(shot, "line0", Verdict.GOOD)])

    alone = learn(plant, settings)
    assert alone.reasons == ("5 lines with 7 good and 5 defective images each are needed to judge by, and there are 1",)
    left_out = "line4 is left out: it has 0 good and 0 defective images to learn from."
    assert (len(alone.remarks), alone.remarks[-1], alone.lines) == (4, left_out, ("line0",))
    assert alone.left_out["adapted from, and gone or changed"] == 12  # the others' versions are of line0's images

    for number in range(1, 5):
        write_blotched_line(plant / f"line{number}", number, good=8, defects=5)
    better = learn(plant, settings)
    assert better.reasons == (), better.sentence
    assert better.comparison is not None
    assert better.model is not None
    assert (better.comparison.present, len(better.comparison.lines)) == ("auto", 5)
    assert better.comparison.auroc_gain.mean > 0
    assert better.model.lines == tuple(f"line{number}" for number in range(5))
    version = shelf.live_version()
    assert version is not None
    assert {name: len(images) for name, images in shelf.learned_from(version).lines.items()} == {
        "line0": 14,  # one of them by its verdict
        **{f"line{number}": 13 for number in range(1, 5)},
    }

    again = learn(plant, settings)
    assert (again.reasons, again.comparison) == ((f"nothing is new since {better.model.identifier}",), None)

    adapted = adapt_job.run(
        AdaptRequest(line="new", images=first, size=SIZE, good=2, defects=1, learner=LEARNER), settings
    )
    manifest = adapted.bundle.manifest
    assert manifest.learner.meta_model == f"{better.model.identifier}, the plant's own"
    assert manifest.lineage.training_lines == better.model.lines
    assert better.model.identifier in (adapted.bundle.path / "card.md").read_text()

    shutil.copy(shot, plant / "line1" / "good" / "more.png")
    (plant / "line2" / "good" / "00.png").unlink()
    third = learn(plant, settings)
    assert third.comparison is not None
    assert third.comparison.present == better.model.identifier  # learned anew without the lines that are held out
    assert f"1 of the images that {better.model.identifier} was learned from" in third.remarks[-1]
    assert (third.model is None) == (shelf.live_version() == version)


def test_a_learner_that_learns_nothing_from_other_lines_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match="expected a learner that learns from other lines, got auto"):
        learn(tmp_path, load_settings(), learner=LearnerName.AUTO)
    assert not home.exists()
