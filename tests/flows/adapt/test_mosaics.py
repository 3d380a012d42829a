"""A line of Bayer mosaics: the pattern is stated once and kept in the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from pipeline.imaging.bayer_pattern import BayerPattern
from tests.flows.command import Command
from tests.pipeline.imaging.test_bayer import mosaic


def test_a_stated_pattern_is_kept_and_scored_with(linewise: Command, line: Path, tmp_path: Path) -> None:
    mosaics, colour = tmp_path / "mosaics", sorted((line / "train" / "good").iterdir())
    for folder in ("good", "new"):
        (mosaics / folder).mkdir(parents=True)
        for file in colour:
            pixels = cv2.imread(str(file))[:, :, ::-1]
            cv2.imwrite(str(mosaics / folder / f"{file.stem}.png"), mosaic(pixels, BayerPattern.GRBG))
    flags = ("--learner", "memory_bank", "--size", "64")
    code, _, error = linewise("adapt", "caps", mosaics, *flags, "--bayer", "GRBG")
    assert code == 0, error
    assert "checker" not in error
    code, _, error = linewise("score", "caps", mosaics / "new", "--device", "cpu", "--json", tmp_path / "rows.json")
    assert code == 0, error
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["status"] for row in rows} == {"scored"}
    assert len(rows) == len(colour)
    code, _, error = linewise("score", "caps", colour[0].parent, "--device", "cpu")
    assert code == 1
    assert "expected a Bayer mosaic (GRBG) of one channel in a PNG, BMP or TIFF, got colour" in error
