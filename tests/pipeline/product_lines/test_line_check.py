"""The check of a line: what it counts, and a sentence for everything that is wrong."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import LineError
from pipeline.product_lines.line_check import check_line, mask_remarks
from pipeline.product_lines.line_report import LineReport, Severity
from pipeline.product_lines.lines import load_line
from pipeline.product_lines.mask_check import NEARLY_ALL
from pipeline.product_lines.near_duplicates import find_near_duplicates
from tests.parts.image_files import exif_block, png, png_with_exif


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth colour picture; every seed a different one."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path: Path, pixels: np.ndarray, *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(os.fspath(path), pixels, options)
    return path


def mask(height: int = 96, width: int = 128, *, marked: bool = True) -> np.ndarray:
    pixels = np.zeros((height, width), np.uint8)
    pixels[4:9, 10:20] = 255 if marked else 0
    return pixels


@pytest.fixture
def line(tmp_path):
    """Four good training images, two good test images and two cracks with masks: nothing wrong."""
    root = tmp_path / "bottle"
    for number in range(4):
        save(root / f"train/good/{number}.png", picture(number))
    for number in range(2):
        save(root / f"test/good/{number}.png", picture(10 + number))
        save(root / f"test/crack/{number}.png", picture(20 + number))
        save(root / f"ground_truth/crack/{number}_mask.png", mask())
    return root


def sentences(report: LineReport) -> list[tuple[str, str]]:
    return [(problem.severity.value, problem.sentence) for problem in report.problems]


def test_a_sound_line(line):
    report = check_line(line)
    assert report.ok
    assert report.problems == ()
    assert report.counts == {"train good": 4, "test good": 2, "crack": 2}
    assert report.sizes == {(96, 128): 8}
    assert report.bit_depths == {8: 8}
    assert report.channels == {3: 8}
    assert report.white_level is None
    assert (report.masks.missing, report.masks.empty, report.masks.unusable) == ((), (), ())
    assert [(found.path.name, found.share) for found in report.masks.usable] == [
        ("0_mask.png", 50 / (96 * 128)),
        ("1_mask.png", 50 / (96 * 128)),
    ]
    assert (report.unreadable, report.duplicates, report.near_duplicates, report.unused) == ((), (), (), ())


def test_the_simple_layout(tmp_path):
    for number in range(4):
        save(tmp_path / f"good/{number}.png", picture(number))
    save(tmp_path / "defect/0.png", picture(9))
    report = check_line(tmp_path, workers=1)
    assert report.counts == {"train good": 4, "defect": 1}
    assert report.problems == (), "no mask at all is a choice, not a problem"


def test_what_is_no_line_is_refused(tmp_path):
    with pytest.raises(LineError, match="an empty folder"):
        check_line(tmp_path)


def test_unreadable_images(line):
    (line / "train/good/1.png").write_bytes(b"")
    (line / "test/crack/0.png").write_text("not an image")
    report = check_line(line)
    assert not report.ok
    assert [image.path.name for image in report.unreadable] == ["1.png", "0.png"]
    assert report.unreadable[0].reason == "expected an image, got an empty file: copy the file again from its source"
    assert report.problems[0].severity is Severity.ERROR
    assert report.problems[0].sentence.startswith(
        "2 images cannot be used: train/good/1.png (expected an image, got an empty file: copy the file again from its "
        "source), test/crack/0.png (expected a JPEG, PNG, BMP or TIFF image"
    )
    assert report.counts["train good"] == 4, "counts are of files; sizes of readable images"
    assert sum(report.sizes.values()) == 6


def test_masks(line):
    save(line / "ground_truth/crack/0_mask.png", mask(96, 127))
    save(line / "ground_truth/crack/1_mask.png", mask(marked=False))
    save(line / "test/crack/2.png", picture(22))
    save(line / "test/crack/3.png", picture(23))
    save(line / "ground_truth/crack/3_mask.png", mask())
    report = check_line(line)
    crack = line / "ground_truth/crack"
    assert not report.ok
    assert len(report.masks.usable) == 1
    assert report.masks.missing == (line / "test/crack/2.png",)
    assert report.masks.empty == (crack / "1_mask.png",)
    assert [image.path for image in report.masks.unusable] == [crack / "0_mask.png"]
    assert sentences(report) == [
        (
            "error",
            "1 mask cannot be used: ground_truth/crack/0_mask.png (expected a mask of its image's size, 96 x 128 "
            f"pixels, got 96 x 127 pixels in {crack}/0_mask.png: save the mask at the image's size).",
        ),
        ("warning", "1 defect without a mask: test/crack/2.png."),
        ("warning", "1 mask without a marked pixel: ground_truth/crack/1_mask.png."),
    ]


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
        "map or palette whose background is not 0, or a picture with the mask in its alpha channel? Save masks that are "
        "0 wherever the part is sound."
    )
    assert sentences(check_line(line)) == [("warning", sentence)]
    loaded = load_line(line)
    assert list(mask_remarks(loaded, loaded.defects)) == [sentence]
    assert list(mask_remarks(loaded, loaded.defects[1:])) == []


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
    loaded = load_line(line)
    assert (TURNED_MASK in [sentence for _, sentence in sentences(check_line(line))]) == told
    assert list(mask_remarks(loaded, loaded.defects)) == ([TURNED_MASK] if told else [])


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


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


@pytest.mark.parametrize(
    ("source", "target", "severity", "sentence"),
    [
        (
            "train/good/0.png",
            "test/good/7.png",
            "error",
            "A training and a test image are the same file: train/good/0.png, test/good/7.png.",
        ),
        (
            "train/good/0.png",
            "test/crack/7.png",
            "error",
            "A good and a defective image are the same file: train/good/0.png, test/crack/7.png.",
        ),
        (
            "train/good/0.png",
            "train/good/7.png",
            "warning",
            "2 train good images are the same file and count once: train/good/0.png, train/good/7.png.",
        ),
        (
            "test/crack/0.png",
            "test/dent/7.png",
            "warning",
            "Two kinds of defect have the same file, which counts once: test/crack/0.png, test/dent/7.png.",
        ),
    ],
)
def test_identical_files(line, source, target, severity, sentence):
    copy(line / source, line / target)
    report = check_line(line)
    assert (severity, sentence) in sentences(report)
    assert report.ok == (severity == "warning")
    (group,) = report.duplicates
    assert group.paths == (line / source, line / target)
    assert report.near_duplicates == ()


@pytest.mark.parametrize("how", ["jpeg", "half", "brighter"])
def test_a_training_image_saved_anew_for_testing(line, how):
    pixels = picture(2, 384, 512)
    save(line / "train/good/2.png", pixels)
    if how == "half":
        pixels = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    elif how == "brighter":  # another exposure is another picture
        pixels = cv2.convertScaleAbs(pixels, alpha=0.8, beta=10)
    path = save(line / "test/good/copy.jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, 70)
    report = check_line(line)
    if how == "brighter":
        assert report.near_duplicates == ()
        return
    (pair,) = report.near_duplicates
    assert (pair.train, pair.test) == (line / "train/good/2.png", path)
    assert 0 < pair.difference < 1
    assert (
        "warning",
        "1 good test image may be a training image saved anew: test/good/copy.jpg of train/good/2.png.",
    ) in sentences(report)
    assert report.ok


def test_parts_that_all_look_alike_are_no_copies():
    rng = np.random.default_rng(0)
    part = picture(0, 64, 64)[:, :, 0]
    alike = np.stack([np.clip(part + rng.normal(0, 0.6, part.shape), 0, 255).round() for _ in range(12)]).astype(
        np.uint8
    )
    assert find_near_duplicates(alike[:8], alike[8:]) == []
    assert find_near_duplicates(alike[:0], alike) == []
    assert find_near_duplicates(alike, alike[:0]) == []


def test_near_duplicates_agree_with_comparing_every_pair():
    left = np.stack([picture(seed, 64, 64)[:, :, 0] for seed in range(30)])
    right = np.concatenate([left[[7, 3]], [picture(99, 64, 64)[:, :, 0]]])
    assert find_near_duplicates(left, right) == [(3, 1, 0.0), (7, 0, 0.0)]


def test_deep_images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        deep = cv2.resize(rng.integers(0, 4000, (8, 8)).astype(np.uint16), (64, 64), interpolation=cv2.INTER_LINEAR)
        split = "train" if number < 4 else "test"
        save(tmp_path / f"{split}/good/{number}.tiff", deep)
        if number == 1:
            save(tmp_path / "test/good/copy.png", deep)
    report = check_line(tmp_path)
    assert report.white_level == 4095
    assert report.bit_depths == {16: 7}
    assert report.channels == {1: 7}
    assert [pair.test.name for pair in report.near_duplicates] == ["copy.png"]
    save(tmp_path / "test/good/9.png", picture(0))
    mixed = check_line(tmp_path)
    assert not mixed.ok
    assert sentences(mixed)[0] == (
        "error",
        "The images differ in depth, 1 of 8 bits and 7 of 16 bits: take all of them with one camera setting.",
    )


def test_sizes_channels_few_images_and_unused_files(tmp_path):
    save(tmp_path / "good/0.png", picture(0))
    save(tmp_path / "good/1.png", picture(1)[:, :100])
    save(tmp_path / "good/2.png", picture(2)[:, :, 0])
    save(tmp_path / "defect/0.png", picture(3))
    save(tmp_path / "masks/0.png", mask())
    save(tmp_path / "masks/of_nothing.png", mask())
    (tmp_path / "good/notes.txt").write_text("not counted")
    report = check_line(tmp_path)
    assert report.sizes == {(96, 128): 3, (96, 100): 1}
    assert report.unused == (tmp_path / "masks/of_nothing.png",)
    assert sentences(report) == [
        ("warning", "Only 3 good training images: add some, up to at least 4."),
        ("warning", "The images have 2 sizes, from 96 x 100 to 96 x 128 pixels."),
        ("warning", "1 image in grey, but 3 in colour."),
        ("warning", "1 image file not used in this layout: masks/of_nothing.png."),
    ]
    assert report.ok


def test_long_lists_are_cut(line):
    for number in range(5):
        (line / f"train/good/bad{number}.png").write_bytes(b"")
    assert check_line(line).problems[0].sentence.endswith("bad2.png (expected an image, got an empty file: copy the "
                                                          "file again from its source) and 2 more.")  # fmt: skip


@pytest.mark.lines
def test_the_real_lines_have_no_errors(real_lines):
    for entry in json.loads((real_lines / "INDEX.json").read_text()):
        report = check_line(real_lines / entry["line"])
        assert report.ok, report.problems
        assert sum(len(group.paths) - 1 for group in report.duplicates) == entry["near_duplicates"]["exact_duplicates"]
        assert set(report.sizes) >= {(height, width) for height, width, _ in entry["image_size_hw"]}
        assert set(report.channels) == {entry["channels"]}
        assert report.unused == ()
        assert all(found.share < NEARLY_ALL - 0.1 for found in report.masks.usable)
