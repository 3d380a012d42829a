"""Masks that can be read and are odd all the same: said by the check of a line, and by adaptation in the same words."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.product_lines.line_check import check_line
from tests.parts.image_files import exif_block, png, png_with_exif
from tests.parts.line_on_disk import mask, picture, save, sentences, sound_line


@pytest.fixture
def line(tmp_path):
    return sound_line(tmp_path / "bottle")


INVERTED = 255 - mask()
PALETTE = np.where(mask()[:, :, None] > 0, (0, 255, 0), (0, 0, 128)).astype(np.uint8)  # a background of another colour
LABELS = np.where(mask() > 0, 2, 1).astype(np.uint8)
IN_ALPHA = np.dstack([picture(0), mask()])


@pytest.mark.parametrize(
    "pixels", [INVERTED, PALETTE, LABELS, IN_ALPHA], ids=["inverted", "palette", "labels", "alpha"]
)
def test_masks_that_mark_nearly_all_of_the_image(line, pixels):
    save(line / "ground_truth/crack/0_mask.png", pixels)
    sentence = (
        "1 mask with nearly all of the image marked, ground_truth/crack/0_mask.png: inverted (white is sound), a label "
        "map or palette whose background is not 0, or a picture with the mask in its alpha channel? Save masks that "
        "are 0 wherever the part is sound."
    )
    report = check_line(line)
    assert sentences(report) == [("warning", sentence)]
    assert report.told_by_jobs == (sentence,)


def test_masks_without_a_mark_are_told_of_wherever_the_line_is_used(line):
    save(line / "ground_truth/crack/0_mask.png", 0 * mask())
    sentence = "1 mask without a marked pixel: ground_truth/crack/0_mask.png."
    report = check_line(line)
    assert sentences(report) == [("warning", sentence)]
    assert report.told_by_jobs == (sentence,)


def labelled(path: Path, pixels: np.ndarray, orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_with_exif(png(pixels), exif_block(orientation)))


TURNED_MASK = (
    "1 mask of images that EXIF turns or mirrors, taken as drawn on the upright image, as viewers show it: "
    "ground_truth/crack/0_mask.png. Were they drawn on the pixels as stored, save the images without their EXIF "
    "orientation."
)


@pytest.mark.parametrize(
    ("orientation", "side", "told"), [(1, 128, False), (2, 128, True), (3, 128, True), (6, 96, True), (8, 96, True)]
)
def test_a_mask_of_an_image_that_exif_turns(line, orientation, side, told):
    labelled(line / "test/crack/0.png", picture(20, 96, side), orientation)
    save(line / "ground_truth/crack/0_mask.png", mask(96, side))
    report = check_line(line)
    assert (TURNED_MASK in [sentence for _, sentence in sentences(report)]) == told
    assert report.told_by_jobs == ((TURNED_MASK,) if told else ())


def test_a_mask_that_exif_turns_with_its_image_needs_no_remark(line):
    labelled(line / "test/crack/0.png", picture(20), 3)
    labelled(line / "ground_truth/crack/0_mask.png", mask(), 3)
    assert check_line(line).problems == ()


def test_a_mask_that_fits_only_the_stored_pixels_is_refused_with_a_word_on_exif(line):
    labelled(line / "test/crack/0.png", picture(20), 6)
    ((severity, sentence), *_) = sentences(check_line(line))
    assert severity == "error"
    assert sentence.endswith(
        ": draw the mask on the upright image, as viewers show it: its EXIF may turn the stored pixels)."
    )
    save(line / "ground_truth/crack/0_mask.png", mask(128, 96))
    assert check_line(line).ok, "drawn on the upright image, and its size says so"
    assert "EXIF" not in str(sentences(check_line(line)))
