"""Lines without what cannot be used, for the jobs that learn from them: every image is looked at before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipeline.errors import LineError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.product_lines.copies import without_copies
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_report import LineReport
from pipeline.product_lines.lines import ImageRecord, ProductLine


def usable_line(line: ProductLine, *, bayer: BayerPattern | None = None) -> tuple[ProductLine, tuple[str, ...]]:
    """The line without what cannot be used, and what is said of that, in the words of `linewise lines check`.

    Each content counts once in what is learned from and never on both sides (`without_copies`); images that cannot be
    read are left out, and so are masks, whose images then count as ones without. Its records know the camera's white
    level where the images have more than 8 bits, and the pattern of Bayer mosaics in a line that looks like ones.

    Raises:
        LineError: a good image has the content of a defective one, the images differ in depth, or no good training
            image can be read.
    """
    report = check_line(line)
    bayer = bayer if report.of_mosaics else None
    if bayer is not None:
        report = check_line(line, bayer=bayer)
    usable = without_unusable(without_copies(line, report.duplicates), report)
    said = tuple(f"{line.name}: {sentence}" for sentence in report.told_by_jobs)
    return _under(usable, report.white_level, bayer), said


def without_unusable(line: ProductLine, report: LineReport) -> ProductLine:
    """The line without images that cannot be read and masks that cannot be used.

    Raises:
        LineError: the images differ in depth, or no good training image can be read.
    """
    if len(report.bit_depths) > 1:
        depths = " and ".join(f"{count} of {bits} bits" for bits, count in sorted(report.bit_depths.items()))
        got = f"{depths} in {report.line.root}"
        raise LineError("images of one depth", got, "take all of them with one camera setting")
    left_out = {image.path for image in (*report.unreadable, *report.masks.unusable)}

    def usable(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
        return tuple(
            replace(record, mask_path=None) if record.mask_path in left_out else record
            for record in records
            if record.path not in left_out
        )

    train_good = usable(line.train_good)
    if not train_good:
        good = {record.path for record in line.train_good}
        first, *others = (image for image in report.unreadable if image.path in good)
        got = f"none in {line.root}, where {first.path.name} is the first of {1 + len(others)} ({first.reason})"
        raise LineError("good training images that can be read", got, "run `linewise lines check` on it")
    return replace(line, train_good=train_good, test_good=usable(line.test_good), defects=usable(line.defects))


def _under(line: ProductLine, white_level: int | None, bayer: BayerPattern | None) -> ProductLine:
    """The line whose records know their camera's white level and the pattern of its mosaics."""

    def knowing(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
        return tuple(replace(record, white_level=white_level, bayer=bayer) for record in records)

    good, tested, defects = map(knowing, (line.train_good, line.test_good, line.defects))
    return replace(line, train_good=good, test_good=tested, defects=defects)
