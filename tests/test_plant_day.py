"""Parts of the plant's day that its figures rest on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.plant_day.products import DEFECTIVE, GOOD, SIDE, Product


def test_parts_that_are_counted_at_the_end_are_neither_labelled_nor_shown_by_a_camera(tmp_path: Path):
    """Each part is of one grey, 4 from the next: no noise makes another of it."""

    def grey(picture: np.ndarray) -> int:
        return 4 * round(float(picture.mean()) / 4)

    def parts(first: int) -> list[np.ndarray]:
        return [np.full((SIDE, SIDE, 3), first + 8 * number, np.uint8) for number in range(14)]

    product, rng = Product("line", parts(40), parts(44)), np.random.default_rng(0)
    product.write_labelled(tmp_path)
    labelled = {grey(np.asarray(cv2.imread(str(path)))) for path in tmp_path.rglob("*.png")}
    shown = {grey(product.picture(rng, defective=kind, gain=1)) for kind in (False, True) for _ in range(200)}
    unseen = {grey(picture) for kind in (False, True) for picture in product.unseen(defective=kind, gain=1)}
    assert len(labelled) == GOOD + DEFECTIVE
    assert not labelled & shown
    assert not unseen & (labelled | shown)
    assert labelled | shown | unseen == {*range(40, 40 + 8 * 14, 8), *range(44, 44 + 8 * 14, 8)}
    (dimmed, *_), (plain, *_) = (product.unseen(defective=False, gain=gain) for gain in (0.5, 1.0))
    assert abs(dimmed.mean() - plain.mean() / 2) < 1
