"""Which learner a line is adapted by: with the meta-model that was named, else the plant's own, else one that ships."""

from __future__ import annotations

from dataclasses import dataclass

from flows.adapt.request import AdaptRequest
from flows.plant_meta_models import PlantMetaModels
from flows.views import DEFAULT_SIZE
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.shipped import SHIPPED, shipped_meta_model
from pipeline.errors import BundleError, ConfigError
from pipeline.features import BackboneSpec
from pipeline.learner import Learner
from pipeline.meta_model import MetaModel, load_meta_model
from pipeline.settings import Settings


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
    name = request.learner.value
    if (model := PlantMetaModels(settings, name).live()) is not None:
        remark = (
            f"{model.identifier} learned from {request.line}, too: how many of its known defects would pass is told a "
            "little too low."
        )
        origin = f"{model.identifier}, the plant's own"
        return ChosenMetaModel(model=model, origin=origin, remark=remark if request.line in model.lines else "")
    if (model := shipped_meta_model(name)) is not None:
        return ChosenMetaModel(model=model, origin=f"{model.identifier}, shipped with Linewise")
    return None


def chooses_size(learner: Learner, meta: MetaModel | None) -> bool:
    """Whether the line's input size is chosen from its support, as an evaluation of the learner does.

    What it learned from other lines at the default size serves every size. A meta-model of another size was asked for,
    and one of a learner that learns nothing holds thresholds of its size alone.
    """
    return learner.chooses_size and (
        meta is None or (learner.as_meta() is not None and meta.spec.height == DEFAULT_SIZE)
    )


def learner_with(request: AdaptRequest, chosen: ChosenMetaModel | None, spec: BackboneSpec) -> Learner:
    """The request's learner, with its meta-parameters where it has any.

    Raises:
        ConfigError: a meta-learner without its meta-model, or one of another learner or for another backbone.
        BundleError: its meta-parameters are others.
    """
    name = request.learner.value
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
