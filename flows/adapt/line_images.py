"""Which of a line's images adaptation uses, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass

from flows.adapt.request import AdaptRequest
from flows.asking.request_fields import MAX_DEFECTS, MAX_GOOD
from flows.views import drawn_evenly
from pipeline.learner import Learner
from pipeline.product_lines.left_out import LeftOut
from pipeline.product_lines.lines import ImageRecord, ProductLine


@dataclass(frozen=True, kw_only=True)
class LineImages:
    """The labelled images to adapt from; how many files were left out, by reason, and sentences on them."""

    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    left_out: dict[str, int]
    remarks: tuple[str, ...]


def choose_images(request: AdaptRequest, line: ProductLine, left_out: LeftOut, learner: Learner) -> LineImages:
    """The images that were asked for, as many of them as adaptation and the learner take.

    Args:
        request: how many, and the seed that draws them.
        line: each content once.
        left_out: of its folder.
        learner: may take fewer defects than there are.
    """
    said = list(left_out.sentences)
    good = drawn_evenly(line.train_good, request.good or MAX_GOOD, request.seed)
    if request.good is None and len(good) < len(line.train_good):
        said.append(_not_drawn(len(good), len(line.train_good), "good", "adapt takes"))
    wanted = len(line.defects) if request.defects is None else request.defects
    most = MAX_DEFECTS if learner.most_defects is None else learner.most_defects
    defects = drawn_evenly(line.defects, min(most, wanted), request.seed)
    if len(defects) < min(len(line.defects), wanted):
        said.append(_not_drawn(len(defects), len(line.defects), "defective", f"the learner {learner.name} takes"))
    counts = {
        **left_out.counts,
        "good not drawn": len(line.train_good) - len(good),
        "defective not drawn": len(line.defects) - len(defects),
    }
    return LineImages(good=tuple(good), defects=tuple(defects), left_out=counts, remarks=tuple(said))


def _not_drawn(drawn: int, found: int, kind: str, who: str) -> str:
    how = "drawn by the seed" if kind == "good" else "drawn by the seed and evenly over their kinds"
    return f"{drawn} of {found} {kind} images are used, {how}: {who} no more."
