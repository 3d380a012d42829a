"""Which learner a line is adapted by: with the meta-model that was named, else the plant's own, else one that ships.

Who names neither gets `auto`, which learns from a line's own defects. Where a line has none, and few good images, what
those of other lines have in common helps (`benchmarks/shared_direction.md`): `shared_direction` then, if its meta-model
is of the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.plant_meta_models import PlantMetaModels
from flows.views import DEFAULT_SIZE
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.shipped import SHIPPED, shipped_meta_model
from pipeline.errors import BundleError, ConfigError
from pipeline.features import BackboneSpec
from pipeline.learner import Learner
from pipeline.meta_model import MetaModel, load_meta_model
from pipeline.settings import Settings

_MANY_GOOD = 12
"""Good images from which other lines' defects no longer help one without its own (`benchmarks/shared_direction.md`)."""


@dataclass(frozen=True, kw_only=True)
class ChosenMetaModel:
    """A meta-model, and what a bundle made with it says of where it comes from; `remark`: what a person should know."""

    model: MetaModel
    origin: str
    remark: str = ""


def choose_meta_model(request: AdaptRequest, settings: Settings) -> ChosenMetaModel | None:
    """The one named, else the plant's own of that learner, else the one that ships; None where there is none.

    Raises:
        BundleError, StorageError: it is damaged, or cannot be read.
    """
    if request.meta_model is not None:
        model = load_meta_model(request.meta_model)
        return ChosenMetaModel(model=model, origin=model.identifier)
    return next(_unnamed(request, request.learner or LearnerName.AUTO, settings), None)


def learner_for(
    request: AdaptRequest,
    settings: Settings,
    spec: BackboneSpec,
    first: tuple[Learner, ChosenMetaModel | None],
    *,
    good: int,
    defects: int,
) -> tuple[Learner, ChosenMetaModel | None]:
    """What a line is adapted by, and its meta-model.

    Args:
        request: names a learner, or leaves it to the line.
        settings: of the home.
        spec: of the backbone. Of the meta-models that might help, the plant's own before the one that ships, the first
            that was learned through it is taken.
        first: what the request comes to where nothing helps.
        good: images of the line.
        defects: likewise.

    Raises:
        BundleError, StorageError: as `choose_meta_model` and `learner_with`.
    """
    if not others_help(request, good, defects):
        return first
    name = LearnerName.SHARED_DIRECTION
    for chosen in _unnamed(request, name, settings):
        if chosen.model.spec.fingerprint == spec.fingerprint:
            return learner_with(request.model_copy(update={"learner": name}), chosen, spec), chosen
    return first


def others_help(request: AdaptRequest, good: int, defects: int) -> bool:
    """Whether other lines help one with so many images where nobody names a learner.

    Beside unlabelled images it was not measured.
    """
    unlabelled = request.unlabelled is not None or request.production_hours is not None
    return by_default(request) and good < _MANY_GOOD and not defects and not unlabelled


def by_default(request: AdaptRequest) -> bool:
    """Whether the request leaves the learner to what the line has."""
    return request.learner is None and request.meta_model is None


def _unnamed(request: AdaptRequest, learner: LearnerName, settings: Settings) -> Iterator[ChosenMetaModel]:
    """A learner's meta-models where none is named: the plant's own, and the one that ships."""
    if (model := PlantMetaModels(settings, learner.value).live()) is not None:
        remark = (
            f"{model.identifier} learned from {request.line}, too: how many of its known defects would pass is told a "
            "little too low."
        )
        origin = f"{model.identifier}, the plant's own"
        yield ChosenMetaModel(model=model, origin=origin, remark=remark if request.line in model.lines else "")
    if (model := shipped_meta_model(learner.value)) is not None:
        yield ChosenMetaModel(model=model, origin=f"{model.identifier}, shipped with Linewise")


def known_size(chosen: ChosenMetaModel | None) -> int:
    """The input size of a meta-model, else the default one."""
    return chosen.model.spec.height if chosen else DEFAULT_SIZE


def chooses_size(learner: Learner, meta: MetaModel | None) -> bool:
    """Whether the line's input size is chosen from its support, as an evaluation of the learner does.

    What it learned from other lines at the default size serves every size. A meta-model of another size was asked for,
    and one of a learner that learns nothing holds thresholds of its size alone.
    """
    return learner.chooses_size and (
        meta is None or (learner.as_meta() is not None and meta.spec.height == DEFAULT_SIZE)
    )


def learner_with(request: AdaptRequest, chosen: ChosenMetaModel | None, spec: BackboneSpec) -> Learner:
    """The request's learner, else the meta-model's, else `auto`, with its meta-parameters where it has any.

    Raises:
        ConfigError: a meta-learner without its meta-model, or one of another learner or for another backbone.
        BundleError: its meta-parameters are others.
    """
    named = request.learner.value if request.learner else None
    name = named or (chosen.model.learner if chosen else LearnerName.AUTO.value)
    if chosen is None:
        if learner_entry(name).is_meta:
            raise ConfigError(
                f"a meta-model for the learner {name}",
                "none",
                "run `linewise meta-train` and pass its folder as --meta-model, learn the plant's own with `linewise "
                "meta-train-plant`, or choose memory_bank, or "
                f"{' or '.join(SHIPPED)}, whose meta-model ships with Linewise",
            )
        return make_learner(name, spec, seed=request.seed)
    meta = chosen.model
    if meta.learner != name:
        raise ConfigError(f"a meta-model of {name}", f"one of {meta.learner}", f"pass --learner {meta.learner}")
    if meta.spec.fingerprint != spec.fingerprint:
        raise ConfigError(
            f"a meta-model for the backbone {spec.name} at {spec.height} px ({spec.fingerprint})",
            f"one for {meta.spec.name} at {meta.spec.height} px ({meta.spec.fingerprint})",
            "pass the backbone and size it was trained with, or meta-train again and name its folder as --meta-model",
        )
    learner = make_learner(name, spec, outer_steps=meta.outer_steps, pooled_steps=meta.pooled_steps, seed=meta.seed)
    try:
        learner.load_state_dict(meta.weights)
    except RuntimeError as error:
        where = request.meta_model or chosen.origin
        raise BundleError(f"the meta-parameters of {name} in {where}", "others", "meta-train again") from error
    if meta.calibration is not None and meta.calibration.fallback is None:
        return learner.unguarded()  # a meta-model from before the guard has no thresholds for the bank's head
    return learner
