"""A line's first look: a head at the smallest of its input sizes, where one is asked for and the support vouches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploy.engine.two_looks import first_view
from flows.adapt.request import AdaptRequest
from flows.open_backbone import OpenBackbone
from flows.views import AdaptedLine
from pipeline.calibration import Threshold
from pipeline.episodes import SupportSet
from pipeline.errors import ConfigError
from pipeline.features import FUSED, BackboneSpec, Levels
from pipeline.first_look import LEAST_DEFECTS, FirstLook, first_look_of
from pipeline.imaging.alignment import AlignMode
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.region_of_interest import RegionOfInterest
from pipeline.support import DirectFeatures, build_support
from pipeline.support_distance import distance_bound


@dataclass(frozen=True, kw_only=True)
class LineFirstLook:
    """The head of a first look in torch, its backbone, the support as it sees it, and where doubt begins."""

    backbone: OpenBackbone
    head: AnomalyHead
    support: SupportSet
    look: FirstLook


def refuse_cascade(request: AdaptRequest, region: RegionOfInterest | None, learner: str, *, chooses_size: bool) -> None:
    """Raise a `ConfigError` where a first look is asked for beside what it does not go with."""
    if not request.cascade:
        return
    if not chooses_size or request.size is not None:
        got = learner if request.size is None else f"--size {request.size}"
        raise ConfigError(
            "a learner that chooses the line's input size for --cascade", got, "leave --cascade or the other out"
        )
    for there, what in (
        (region is not None, "a region of interest"),
        (request.align is not AlignMode.NONE, "--align"),
        (request.tiles is not None, "--tiles"),
        (FUSED in request.backbone, f"--backbone {request.backbone}"),
    ):
        if there:
            raise ConfigError("whole images of one network, as they were taken, for --cascade", what, "leave one out")


def with_alone(adapted: AdaptedLine) -> AdaptedLine:
    """The line with its good images' leave-one-out scores: the threshold and the first look ask for them."""
    return replace(adapted, alone=adapted.alone or adapted.head.leave_one_out(adapted.view.support))


def line_first_look(
    request: AdaptRequest, adapted: AdaptedLine, backbones: Sequence[OpenBackbone], threshold: Threshold
) -> tuple[LineFirstLook | None, tuple[str, ...]]:
    """The first look of an adapted line where the request asks for one, and a sentence where it has none.

    Args:
        request: of the adaptation.
        adapted: the line, as `with_alone` gives it.
        backbones: that it chose among; the smallest looks first.
        threshold: of the line.
    """
    if not request.cascade or adapted.alone is None:
        return None, ()
    view = adapted.view
    backbone = min(backbones, key=lambda one: one.spec.height * one.spec.width)
    size = backbone.spec.size
    if size == view.backbone.spec.size:
        return None, (f"It has no first look: {size} is all that its own takes.",)
    if len(view.defects) < LEAST_DEFECTS:
        got = f"{len(view.defects)} defective images, and {LEAST_DEFECTS} must vouch for one"
        return None, (f"It has no first look: there are {got}.",)
    source, held = DirectFeatures(_Shrinking(backbone)), view.support.k
    support = build_support(view.good, view.defects, source, view.preprocess, view.config, seed=request.seed, held=held)
    head = (adapted.learner.through(backbone.spec) or adapted.learner).choose(support, seed=request.seed).head
    known, flagged = head.leave_one_defect_out(support), threshold.p_value(threshold.review)
    look = None
    if known is not None:
        look = first_look_of(
            _scores(head.leave_one_out(support)),
            known.double().numpy(),
            _scores(adapted.alone),
            distance=distance_bound(support),
            review=threshold.review,
            flagged=flagged or 0.0,
        )
    if look is None:
        said = f"It has no first look: at {size} its known defects do not stand out from its good parts by enough."
        return None, (said,)
    return LineFirstLook(backbone=backbone, head=head, support=support, look=look), ()


class _Shrinking:
    """An extractor that takes what the line's own look sees, and looks at it shrunk, as scoring does."""

    def __init__(self, backbone: OpenBackbone) -> None:
        self._extractor = backbone.extractor

    @property
    def spec(self) -> BackboneSpec:
        return self._extractor.spec

    def extract(self, images_BHWC: NDArray[np.uint8]) -> Levels:
        return self._extractor.extract(
            np.stack([first_view(image, self.spec.height, self.spec.width) for image in images_BHWC])
        )


def _scores(output: AnomalyOutput) -> NDArray[np.float64]:
    return output.image_score.double().numpy()
