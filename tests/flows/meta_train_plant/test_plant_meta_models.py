"""The plant's meta-models on disk: one live, those before it in its history, none half made."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bundles.line_folder import read_pointer
from deploy.bundles.version_decisions import read_decisions
from flows.adapt.learner_choice import choose_meta_model
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train_plant.job import _rolled_back_twin
from flows.plant_meta_models import LearnedFrom, PlantMetaModels
from flows.roll_back_meta_model import job as roll_back
from flows.roll_back_meta_model.request import RollBackMetaModelRequest
from pipeline.errors import BundleError, ConfigError
from pipeline.settings import load_settings
from tests.flows.command import Command
from tests.pipeline.test_meta_training import model

FROM = LearnedFrom(settings=MetaTrainRequest(lines=Path("/lines")), lines={"a": ("0" * 64,)})


def promote(shelf: PlantMetaModels, identifier: str) -> str | None:
    return shelf.promote_instead(model(identifier=identifier), FROM, shelf.live_version(), by="gate", why=("better",))


def test_the_latest_is_live_and_those_before_it_are_kept(home: Path) -> None:
    shelf = PlantMetaModels(load_settings(), "hypernetwork")
    assert (shelf.live_version(), shelf.live()) == (None, None)
    assert not home.exists()
    first = promote(shelf, "hypernetwork-000000000001")
    orphan = shelf.folder / "20200101-000000-killed"
    orphan.mkdir()
    second = promote(shelf, "hypernetwork-000000000002")
    live = shelf.live()
    assert live is not None
    assert (live.identifier, shelf.live_version()) == ("hypernetwork-000000000002", second)
    assert shelf.learned_from(str(second)) == FROM
    pointer = read_pointer(shelf.folder)
    assert pointer is not None
    assert pointer.history == (first,)
    assert not orphan.exists()
    assert [(one.version, one.live) for one in read_decisions(shelf.folder)] == [(first, None), (second, first)]


def test_one_that_was_compared_with_another_than_the_live_one_changes_nothing(home: Path) -> None:
    shelf = PlantMetaModels(load_settings(), "hypernetwork")
    first = promote(shelf, "hypernetwork-000000000001")
    assert shelf.promote_instead(model(), FROM, None, by="gate", why=()) is None
    assert shelf.live_version() == first


def test_rolled_back_the_one_before_is_live_and_a_person_alone_brings_it_back(home: Path, linewise: Command) -> None:
    learner = "hypernetwork"
    settings, shelf = load_settings(), PlantMetaModels(load_settings(), learner)
    asked = RollBackMetaModelRequest(learner=LearnerName.HYPERNETWORK, why="misses holes", by="Ada")
    with pytest.raises(ConfigError, match="a live meta-model of hypernetwork to roll back, got none"):
        roll_back.run(asked, settings)
    first = promote(shelf, "hypernetwork-000000000001")
    second = promote(shelf, "hypernetwork-000000000002")
    result = roll_back.run(asked, settings)
    assert (result.live, result.rolled_back) == (first, second)
    assert (shelf.live_version(), shelf.rolled_back()) == (first, (second,))
    last = read_decisions(shelf.folder)[-1]
    assert (last.version, last.by, last.why) == (second, "Ada", ("misses holes",))
    third = promote(shelf, "hypernetwork-000000000003")
    assert shelf.rolled_back() == (second,), "kept, to be told from what is learned later"
    assert _rolled_back_twin(shelf, FROM).startswith(f"nothing is new since {second}, which was rolled back")

    code, out, _ = linewise("roll-back-meta-model", "--learner", learner, "--version", str(second))
    assert (code, f"meta-model of {learner} is {second} again" in out) == (0, True)
    assert (shelf.live_version(), shelf.rolled_back()) == (second, (third,))
    assert roll_back.run(asked, settings).live == first
    assert roll_back.run(asked, settings).live is None
    assert (shelf.live(), shelf.live_version()) == (None, None)
    assert promote(shelf, "hypernetwork-000000000004") == shelf.live_version(), "the first again"


def test_only_another_version_that_is_kept_can_be_asked_for(home: Path) -> None:
    shelf = PlantMetaModels(load_settings(), "hypernetwork")
    version = promote(shelf, "hypernetwork-000000000001")
    with pytest.raises(ConfigError, match=f"got {version}, which is live"):
        shelf.roll_back(version)
    with pytest.raises(ConfigError, match=r"there is none\), got 'x'"):
        shelf.roll_back("x")
    assert shelf.live_version() == version


def test_a_damaged_pointer_or_note_is_told_with_its_remedy(home: Path) -> None:
    shelf = PlantMetaModels(load_settings(), "hypernetwork")
    version = promote(shelf, "hypernetwork-000000000001")
    (shelf.folder / str(version) / "learned_from.json").write_text("{}")
    with pytest.raises(BundleError, match=f"remove {shelf.folder} and learn"):
        shelf.learned_from(str(version))
    (shelf.folder / "live.json").write_text("{")
    with pytest.raises(BundleError, match=f"remove {shelf.folder} and learn"):
        shelf.live()


def test_adaptation_takes_the_named_one_then_the_plants_then_the_one_that_ships(home: Path, tmp_path: Path) -> None:
    settings, shelf = load_settings(), PlantMetaModels(load_settings(), "in_context")
    asked = AdaptRequest(line="a", images=tmp_path, learner=LearnerName.IN_CONTEXT)
    shipped = choose_meta_model(asked, settings)
    assert shipped is not None
    assert shipped.origin == f"{shipped.model.identifier}, shipped with Linewise"
    version = promote(shelf, "in_context-000000000001")
    plants = choose_meta_model(asked, settings)
    assert plants is not None
    assert plants.origin == "in_context-000000000001, the plant's own"
    assert plants.remark.startswith("in_context-000000000001 learned from a, too")
    named = choose_meta_model(asked.model_copy(update={"meta_model": shelf.folder / str(version)}), settings)
    assert named is not None
    assert named.origin == "in_context-000000000001"
    assert choose_meta_model(asked.model_copy(update={"learner": LearnerName.AUTO}), settings) is None
