"""A line whose good parts were taken several times: each counts once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.adapt import job
from flows.adapt.request import AdaptRequest
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from tests.parts.line_on_disk import picture, save

PARTS = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in range(PARTS):
        for shot in range(1 + part % 3):
            noise = rng.normal(0, 2, (96, 128, 3))
            save(tmp_path / f"line/good/{part}_{shot}.png", (picture(part) + noise).clip(0, 255).astype(np.uint8))
    return tmp_path / "line"


def test_a_good_part_that_was_taken_again_counts_once_and_that_is_told(folder: Path, tmp_path: Path) -> None:
    result = job.run(AdaptRequest(line="caps", images=folder, size=64), load_settings(tmp_path / "home"))
    again = len(list((folder / "good").iterdir())) - PARTS
    assert result.good == PARTS
    told = f"{again} good training images show parts that others show, too, and adapt leaves them out: "
    assert [remark for remark in result.remarks if remark.startswith(told)]
    support = result.bundle.manifest.support
    assert (support.left_out or {})["of a part that another shows"] == again
    assert set(support.good) == {sha256_file(folder / f"good/{part}_0.png") for part in range(PARTS)}


def test_another_is_drawn_for_a_part_that_was_drawn_before(folder: Path, tmp_path: Path) -> None:
    request = AdaptRequest(line="caps", images=folder, size=64, good=PARTS)
    result = job.run(request, load_settings(tmp_path / "home"))
    assert result.good == PARTS, "however the twenty files of ten parts were drawn"
