"""Images and masks that cannot be used: adaptation goes on without them and says so, as every other job does."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.synthetic.lines import write_line
from tests.flows.command import Command, sentence

MEMORY_BANK = ("--learner", "memory_bank", "--size", "64")


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return write_line(tmp_path / "lines", 0, good=3, test_good=2, defects=3, size=64)


def test_a_mask_that_cannot_be_used_leaves_its_image_without_one(linewise: Command, line: Path):
    mask, *_ = sorted(line.glob("ground_truth/*/*.png"))
    cv2.imwrite(str(mask), np.full((10, 20), 255, np.uint8))
    code, out, error = linewise("adapt", "new", line, *MEMORY_BANK)
    assert code == 0, error
    assert "Defective images: 3" in out
    assert "Left out of the folder: 1 not usable as masks" in out
    told = f"1 mask cannot be used: {mask.relative_to(line)} (expected a mask of its image's size, 64 x 64 pixels, got "
    assert error.count(told) == 1
    assert told in linewise("lines", "check", line)[1]


def test_images_that_cannot_be_read_are_left_out_in_the_words_of_lines_check(linewise: Command, line: Path):
    good, cut, *_ = sorted((line / "train" / "good").iterdir())
    good.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:-40])
    for defect in line.glob("test/[!g]*/*.png"):
        defect.write_text(f"these are not pixels of {defect}")
    code, out, error = linewise("adapt", "new", line, *MEMORY_BANK)
    assert code == 0, error
    assert "Good images: 1" in out
    assert "Left out of the folder: 5 not usable" in out
    (told,) = [part for part in error.splitlines() if "5 images cannot be used: train/good/" in part]
    assert told in linewise("lines", "check", line)[1].replace("error: ", "")
    code, _, error = linewise("adapt", "new", line, *MEMORY_BANK, "--good", "1", "--least-defect-area", "4")
    assert code == 0, "another is drawn for one that cannot be read, whose size nobody asks for"
    for image in (line / "train" / "good").iterdir():
        image.write_bytes(b"")
    code, _, error = linewise("adapt", "new", line, *MEMORY_BANK)
    assert code == 2
    told = f"good training images that can be read, got none in {line}, where {good.name} is the first of 3 (expected "
    assert told in sentence(error)


def test_unlabelled_images_are_taken_up_where_a_labelled_one_is_no_file(linewise: Command, line: Path, tmp_path: Path):
    os.mkfifo(line / "train" / "good" / "pipe.png")
    unlabelled = write_line(tmp_path / "unlabelled", 0, good=9, test_good=0, defects=0, size=64) / "train"
    code, _, error = linewise("adapt", "new", line, *MEMORY_BANK, "--unlabelled", unlabelled)
    assert code == 0, error
    assert "1 image cannot be used: train/good/pipe.png (expected an image file, got a pipe or device" in error
