"""The file that draws a line's region of interest, looked at before the line is adapted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.line_report import Problem, Severity

SIZE = (24, 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "good").mkdir()
    for number in range(4):
        write(tmp_path / f"good/{number}.png", np.random.default_rng(number).integers(0, 256, SIZE, np.uint8))
    return tmp_path


def write(path: Path, pixels: np.ndarray) -> None:
    assert cv2.imwrite(os.fspath(path), pixels)


def marked(share: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask.ravel()[: round(share * mask.size)] = 255
    return mask


def test_a_region_that_fits_is_not_spoken_of(root: Path) -> None:
    write(root / "region.png", marked(0.5, (48, 64)))
    report = check_line(root)
    assert (report.problems, report.ok) == ((), True)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (marked(0.5, (32, 24)), "region.png cannot be used: expected a region with the proportions of the line's"),
        (marked(0.0), "region.png cannot be used: expected a region with something to look at in"),
    ],
)
def test_what_adapt_would_refuse_is_an_error(root: Path, pixels: np.ndarray, words: str) -> None:
    write(root / "region.png", pixels)
    report = check_line(root)
    (problem,) = report.problems
    assert problem.severity is Severity.ERROR
    assert problem.sentence.startswith(words)
    assert not report.ok
    assert not report.told_by_jobs, "adapt refuses it in its own words; meta-train does not read it"


def test_polygons_outside_and_two_files_are_errors(root: Path) -> None:
    (root / "region.json").write_text(json.dumps({"width": 32, "height": 24, "look": [[[0, 0], [40, 0], [0, 9]]]}))
    (problem,) = check_line(root).problems
    assert "got a point at 40, 0" in problem.sentence
    write(root / "region.png", marked(0.5))
    (problem,) = check_line(root).problems
    assert problem.sentence == "Two regions of interest, region.png and region.json: remove one."


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (1.0, "region.png looks at everything: without it nothing changes."),
        (0.02, "region.png looks at 2.0% of the image, too little for images of 256 pixels."),
    ],
)
def test_a_region_of_odd_size_is_a_warning(root: Path, share: float, sentence: str) -> None:
    write(root / "region.png", marked(share))
    report = check_line(root)
    assert report.problems == (Problem(Severity.WARNING, sentence),)
    assert report.ok


def test_a_file_under_another_name_is_not_taken_for_one_in_silence(root: Path) -> None:
    write(root / "ROI.png", marked(0.5))
    (root / "region-of-interest.json").write_text("{}")
    (root / "settings.json").write_text("{}")
    said = [problem.sentence for problem in check_line(root).problems]
    assert said[-2:] == [
        "ROI.png is not read: a region of interest is called region.png or region.json.",
        "region-of-interest.json is not read: a region of interest is called region.png or region.json.",
    ]
