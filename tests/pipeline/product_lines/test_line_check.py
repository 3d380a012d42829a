"""The check of a line: what it counts, and a sentence for everything that is wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import LineError
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_report import Severity
from pipeline.product_lines.mask_check import NEARLY_ALL
from pipeline.product_lines.near_duplicates import find_near_duplicates
from tests.parts.line_on_disk import mask, picture, save, sentences, sound_line


@pytest.fixture
def line(tmp_path):
    return sound_line(tmp_path / "bottle")


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


@pytest.mark.parametrize("marked", [False, True])
def test_a_good_image_saved_anew_among_the_defects(line, marked):
    pixels = picture(2, 384, 512)
    save(line / "train/good/2.png", pixels)
    if marked:
        pixels[100:130, 200:240] = 255 - pixels[100:130, 200:240]
    save(line / "test/crack/copy.jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, 70)
    report = check_line(line)
    told = "1 defective image may be a good image saved anew: test/crack/copy.jpg of train/good/2.png."
    assert (("warning", told) in sentences(report)) == (told in report.told_by_jobs) == (not marked)
    assert report.ok


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
            "A training and a test image are the same file, which counts in training only: "
            "train/good/0.png, test/good/7.png.",
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


def test_parts_that_are_shown_again_are_told(line):
    rng = np.random.default_rng(0)
    for number in range(8):
        save(line / f"train/good/{number}_0.png", picture(40 + number))
    noisy = np.clip(picture(43) + rng.normal(0, 2, (96, 128, 3)), 0, 255).astype(np.uint8)
    save(line / "train/good/3_1.png", noisy)
    report = check_line(line)
    assert [path.name for path in report.repeated] == ["3_1.png"]
    told = "1 good training image shows a part that another shows, too, and adapt leaves it out: train/good/3_1.png."
    assert ("warning", told) in sentences(report)


def test_of_many_groups_of_equal_files_a_few_are_told(line):
    for number in range(8):
        for again in range(2):
            save(line / f"train/good/{number}_{again}.png", picture(40 + number))
    report = check_line(line)
    *told, more = report.told_by_jobs
    assert len(report.duplicates) == 8
    assert [sentence.startswith("2 train good images are the same file and count once: ") for sentence in told] == [
        True
    ] * 5
    assert more == "So are 3 more groups of images: `linewise lines check` has all with --json."


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
    assert (pair.original, pair.copy) == (line / "train/good/2.png", path)
    assert 0 < pair.difference < 1
    assert (
        "warning",
        "1 good test image may be a training image saved anew: test/good/copy.jpg of train/good/2.png.",
    ) in sentences(report)
    assert report.ok


def test_a_small_image_saved_anew_is_found(tmp_path):
    """A thumbnail of 100 pixels a side keeps more of what JPEG does to them than one of 512 does."""
    for number in range(5):
        noise = np.random.default_rng(number).normal(0, 12, (100, 100, 3))
        pixels = np.clip(picture(number, 100, 100) + cv2.GaussianBlur(noise, (0, 0), 0.7), 0, 255).astype(np.uint8)
        save(tmp_path / f"train/good/{number}.png", pixels)
    save(tmp_path / "test/good/copy.jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, 60)
    save(tmp_path / "test/good/other.jpg", picture(9, 100, 100), cv2.IMWRITE_JPEG_QUALITY, 60)
    (pair,) = check_line(tmp_path).near_duplicates
    assert (pair.original.name, pair.copy.name) == ("4.png", "copy.jpg")
    assert 1 < pair.difference < 2


def test_parts_that_all_look_alike_are_no_copies():
    rng = np.random.default_rng(0)
    part = picture(0, 64, 64)[:, :, 0]
    alike = np.stack([np.clip(part + rng.normal(0, 0.6, part.shape), 0, 255).round() for _ in range(12)]).astype(
        np.uint8
    )
    for area in (64 * 64, 10**6):
        assert find_near_duplicates(alike[:8], alike[8:], [area] * 8, [area] * 4) == []
    assert find_near_duplicates(alike[:0], alike, [], [64 * 64] * 12) == []
    assert find_near_duplicates(alike, alike[:0], [64 * 64] * 12, []) == []


def test_near_duplicates_agree_with_comparing_every_pair():
    left = np.stack([picture(seed, 64, 64)[:, :, 0] for seed in range(30)])
    right = np.concatenate([left[[7, 3]], [picture(99, 64, 64)[:, :, 0]]])
    assert find_near_duplicates(left, right, [10**6] * 30, [10**6] * 3) == [(3, 1, 0.0), (7, 0, 0.0)]


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
    assert [pair.copy.name for pair in report.near_duplicates] == ["copy.png"]
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


def test_sizes_of_equal_area_are_both_named(tmp_path):
    for number in range(4):
        save(tmp_path / f"good/{number}.png", picture(number) if number % 2 else picture(number, 128, 96))
    assert sentences(check_line(tmp_path)) == [
        ("warning", "The images have 2 sizes, from 96 x 128 to 128 x 96 pixels.")
    ]


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
