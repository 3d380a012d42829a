"""Which learner adapts a line where nobody names one: what other lines taught, where the line has no defect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.bundles.bundle import Bundle
from deploy.bundles.facts import all_facts
from flows.adapt import job as adapt
from flows.adapt.learner_choice import choose_meta_model, learner_for, learner_with
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.meta_train.request import MetaTrainRequest
from flows.plant_meta_models import LearnedFrom, PlantMetaModels
from model_zoo.shipped import shipped_meta_model
from pipeline.errors import ConfigError
from pipeline.features import BackboneSpec
from pipeline.meta_model import MetaModel, save_meta_model
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings

HELPS = "shared_direction"


def shipped() -> MetaModel:
    found = shipped_meta_model(HELPS)
    assert found is not None
    return found


def request(line: Path, **changes: object) -> AdaptRequest:
    return AdaptRequest.asked(**({"line": "caps", "images": line} | changes))


def chosen(asked: AdaptRequest, spec: BackboneSpec, *, defects: int, good: int = 4) -> tuple[str, str]:
    """The learner's name, and where its meta-model is from."""
    settings = load_settings()
    first = choose_meta_model(asked, settings)
    start = learner_with(asked, first, spec), first
    learner, meta = learner_for(asked, settings, spec, start, good=good, defects=defects)
    return learner.name, meta.origin if meta else ""


def told(bundle: Bundle) -> str:
    return next(fact.value for fact in all_facts(bundle.manifest) if fact.name == "Learner")


def anew(bundle: Bundle, folder: Path) -> LearnerName | None:
    return next_adaptation(TendRequest(folder=folder), bundle, load_line(folder), production=False).learner


def test_other_lines_help_where_a_line_has_no_defect_and_nobody_says_otherwise(line: Path, home: Path) -> None:
    spec, of_other_size = shipped().spec, replace(shipped().spec, fingerprint="0" * 16)
    assert chosen(request(line), spec, defects=0) == (HELPS, f"{shipped().identifier}, shipped with Linewise")
    assert chosen(request(line), spec, defects=1) == ("auto", "")
    assert chosen(request(line), of_other_size, defects=0) == ("auto", "")
    assert chosen(request(line), spec, defects=0, good=11)[0] == HELPS
    assert chosen(request(line), spec, defects=0, good=12) == ("auto", "")
    assert chosen(request(line, production_hours=1.0), spec, defects=0) == ("auto", "")
    assert chosen(request(line, unlabelled=line), spec, defects=0) == ("auto", "")
    assert chosen(request(line, learner="auto"), spec, defects=0) == ("auto", "")
    assert chosen(request(line, learner="memory_bank"), spec, defects=0) == ("memory_bank", "")


def test_the_plants_own_goes_first_where_it_is_of_the_backbone(line: Path, home: Path, tmp_path: Path) -> None:
    shelf, learned_from = (
        PlantMetaModels(load_settings(), HELPS),
        LearnedFrom(
            settings=MetaTrainRequest(lines=tmp_path, learner=LearnerName.SHARED_DIRECTION), lines={"a": ("0" * 64,)}
        ),
    )
    own = replace(shipped(), identifier="shared_direction-00000000000a", lines=("caps",))
    assert shelf.promote_instead(own, learned_from, None, by="Ada", why=("better",))
    assert chosen(request(line), own.spec, defects=0) == (HELPS, "shared_direction-00000000000a, the plant's own")


def test_a_meta_model_that_is_named_names_its_learner(line: Path, home: Path, tmp_path: Path) -> None:
    save_meta_model(shipped(), tmp_path / "model")
    for defects in (0, 2):
        asked = request(line, meta_model=tmp_path / "model")
        assert chosen(asked, shipped().spec, defects=defects) == (HELPS, shipped().identifier)
    with pytest.raises(ConfigError, match="a meta-model of auto, got one of shared_direction"):
        chosen(request(line, meta_model=tmp_path / "model", learner="auto"), shipped().spec, defects=0)


def test_a_bundle_tells_and_a_line_that_gets_defects_is_adapted_anew_by_them(line: Path, home: Path) -> None:
    settings = load_settings()
    without = adapt.run(request(line, good=3, defects=0), settings).bundle
    assert (without.manifest.learner.name, told(without)) == (HELPS, HELPS)
    assert without.manifest.learner.meta_model == f"{shipped().identifier}, shipped with Linewise"
    assert anew(without, line) is None

    named = adapt.run(request(line, good=3, defects=0, learner=HELPS), settings).bundle
    assert anew(named, line) is LearnerName.SHARED_DIRECTION

    elsewhere = adapt.run(request(line, good=3, defects=0, size=128), settings).bundle
    assert elsewhere.manifest.learner.name == "auto"
    assert told(elsewhere).startswith("auto: no meta-model for lines without defective images is of this backbone")
