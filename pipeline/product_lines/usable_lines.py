"""Lines for jobs that use all of a line, as evaluation and meta-training do: every image is looked at before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipeline.errors import LineError
from pipeline.product_lines.copies import without_copies
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_report import LineReport
from pipeline.product_lines.lines import ImageRecord, ProductLine


def usable_line(line: ProductLine) -> tuple[ProductLine, tuple[str, ...]]:
    """The line without what cannot be used, and what is said of that, in the words of `linewise lines check`.

    Each content counts once in what is learned from and never on both sides (`without_copies`); images that cannot be
    read are left out, and so are masks, whose images then count as ones without. Its records know the camera's white
    level where the images have more than 8 bits.

    Raises:
        LineError: a good image has the content of a defective one, the images differ in depth, or no good training
            image can be read.
    """
    report = check_line(line)
    _refuse_mixed_depths(report)
    left_out = {image.path for image in (*report.unreadable, *report.masks.unusable)}
    once = without_copies(line, report.duplicates)

    def usable(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
        return tuple(
            replace(
                record,
                mask_path=None if record.mask_path in left_out else record.mask_path,
                white_level=report.white_level,
            )
            for record in records
            if record.path not in left_out
        )

    train_good = usable(once.train_good)
    if not train_good:
        got = f"none in {line.root}, where {report.unreadable[0].path.name} is the first of {len(report.unreadable)}"
        raise LineError("good training images that can be read", got, "run `linewise lines check` on it")
    said = tuple(f"{line.name}: {sentence}" for sentence in report.told_by_jobs)
    return replace(once, train_good=train_good, test_good=usable(once.test_good), defects=usable(once.defects)), said


def _refuse_mixed_depths(report: LineReport) -> None:
    if len(report.bit_depths) > 1:
        depths = " and ".join(f"{count} of {bits} bits" for bits, count in sorted(report.bit_depths.items()))
        got = f"{depths} in {report.line.root}"
        raise LineError("images of one depth", got, "take all of them with one camera setting")
