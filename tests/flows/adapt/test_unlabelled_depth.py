"""Unlabelled images of another depth than the line's are not taken up: their values mean another brightness."""

from pathlib import Path

import cv2
import numpy as np

from flows.unlabelled import draw_unlabelled, images_below
from pipeline.imaging.images import PreprocessSpec


def test_images_of_another_depth_are_left_out_and_told(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "a.png"), picture)
    assert cv2.imwrite(str(tmp_path / "b.png"), picture.astype(np.uint16) * 16)
    found = draw_unlabelled(
        [images_below(tmp_path)], set(), PreprocessSpec(height=32, width=32), line="caps", limit=9, seed=0
    )
    assert [record.path.name for record in found.records] == ["a.png"]
    assert found.remarks == (
        "Unlabelled images left out, as they cannot be used: b.png: expected an image of 8 bits, as those that the "
        "line was adapted from, got 16 bits: set the camera as it was, or adapt the line again.",
    )
