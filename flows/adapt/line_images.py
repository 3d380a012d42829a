"""Which of a line's images adaptation uses, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flows.adapt.request import AdaptRequest
from flows.asking.request_fields import MAX_DEFECTS, MAX_GOOD
from flows.views import drawing_order
from pipeline.imaging.images import UnreadableImage
from pipeline.imaging.white_level import line_white_level
from pipeline.learner import Learner
from pipeline.missed_defects import require_defects
from pipeline.product_lines.examined_images import Examined, ExaminedImage, examine_images
from pipeline.product_lines.left_out import LeftOut
from pipeline.product_lines.line_check import repeated_images, report_on
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.product_lines.usable_lines import without_unusable


@dataclass(frozen=True, kw_only=True)
class LineImages:
    """The labelled images to adapt from, all of which can be read, and their camera's white level; how many files were
    left out, by reason, and sentences on them and on what is odd, in the words of `linewise lines check`.
    """

    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    white_level: int | None
    left_out: dict[str, int]
    remarks: tuple[str, ...]

    @property
    def labelled(self) -> tuple[ImageRecord, ...]:
        """All of them."""
        return (*self.good, *self.defects)


def choose_images(
    request: AdaptRequest,
    line: ProductLine,
    left_out: LeftOut,
    learner: Learner,
    on_examined: Callable[[int], None] = lambda _count: None,
) -> LineImages:
    """The images that were asked for, as many of them as adaptation and the learner take.

    Every image is looked at when it is drawn. Another is drawn for one that cannot be read, or that is a good one of a
    part which another shows. A mask that cannot be used is left out: its image counts as one without.

    Args:
        request: how many, and the seed that draws them.
        line: each content once.
        left_out: of its folder.
        learner: may take fewer defects than there are.
        on_examined: told how many images were looked at, after each.

    Raises:
        LineError: the images differ in depth, or no good one can be read.
        ConfigError: a white level is stated that the images cannot have, or fewer defects than the share of missed ones
            asks for.
    """
    looked_at = 0

    def look(records: Sequence[ImageRecord]) -> list[Examined]:
        def one_more() -> None:
            nonlocal looked_at
            looked_at += 1
            on_examined(looked_at)

        return examine_images(records, bayer=request.bayer, on_examined=one_more)

    wanted = len(line.defects) if request.defects is None else request.defects
    most = MAX_DEFECTS if learner.most_defects is None else learner.most_defects
    good = _drawn(line.train_good, request.good or MAX_GOOD, request.seed, look, _parts)
    defects = _drawn(line.defects, min(most, wanted), request.seed, look, lambda found: len(_readable(found)))
    tried = {image.path if isinstance(image, UnreadableImage) else image.record.path for image in (*good, *defects)}
    of_tried = replace(
        line,
        train_good=tuple(record for record in line.train_good if record.path in tried),
        test_good=(),
        defects=tuple(record for record in line.defects if record.path in tried),
    )
    report = report_on(of_tried, [*good, *defects])
    usable = without_unusable(of_tried, report)
    again = {*report.repeated}
    usable_good = tuple(record for record in usable.train_good if record.path not in again)
    said = [*left_out.sentences, *report.told_by_jobs]
    if request.missed_defects is not None:
        require_defects(request.missed_defects, len(usable.defects))
    found = len(line.train_good) - (len(good) - len(usable_good))
    if request.good is None and len(usable_good) < found:
        said.append(_not_drawn(len(usable_good), found, "good", "adapt takes"))
    found = len(line.defects) - (len(defects) - len(usable.defects))
    if len(usable.defects) < min(found, wanted):
        said.append(_not_drawn(len(usable.defects), found, "defective", f"the learner {learner.name} takes"))
    counts = {
        **left_out.counts,
        "not usable": len(report.unreadable),
        "not usable as masks": len(report.masks.unusable),
        "of a part that another shows": len(report.repeated),
        "good not drawn": len(line.train_good) - len(good),
        "defective not drawn": len(line.defects) - len(defects),
    }
    return LineImages(
        good=usable_good,
        defects=usable.defects,
        white_level=line_white_level(report.brightest, request.white_level),
        left_out=counts,
        remarks=tuple(said),
    )


def _drawn(
    records: Sequence[ImageRecord],
    limit: int,
    seed: int,
    look: Callable[[Sequence[ImageRecord]], list[Examined]],
    count: Callable[[Sequence[Examined]], int],
) -> list[Examined]:
    """What was found in drawing until `count` says that there are `limit` images, or no more."""
    waiting, found, enough = drawing_order(records, seed), list[Examined](), 0
    while waiting and enough < limit:
        drawn = sorted(waiting[: limit - enough], key=lambda record: record.path)
        waiting = waiting[limit - enough :]
        found += look(drawn)
        enough = count(found)
    return found


def _readable(found: Sequence[Examined]) -> list[ExaminedImage]:
    return [image for image in found if isinstance(image, ExaminedImage)]


def _parts(found: Sequence[Examined]) -> int:
    """How many parts the readable ones of some good images show."""
    readable = _readable(found)
    return len(readable) - len(repeated_images(readable))


def _not_drawn(drawn: int, found: int, kind: str, who: str) -> str:
    how = "drawn by the seed" if kind == "good" else "drawn by the seed and evenly over their kinds"
    return f"{drawn} of {found} {kind} images are used, {how}: {who} no more."
