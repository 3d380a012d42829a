"""What a support's images say of all images of their line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.imaging.images import DecodedImage
from pipeline.likeness import Likeness, Seen, likeness_of

PIXELS = np.random.default_rng(0).integers(80, 120, (32, 32, 3), dtype=np.uint8)


def mono(count: int) -> list[DecodedImage]:
    image = DecodedImage(Path("a.png"), "0" * 64, PIXELS, (96, 128), 8, colour=False)
    return [image] * count


def problem(likeness: Likeness, size: tuple[int, int]) -> str | None:
    return likeness.problem(Seen(PIXELS, size), None)


def test_proportions_are_those_of_all_images_also_of_some_that_are_not_looked_at() -> None:
    one_size, another_too = (likeness_of(mono(3), 0.5, [(96, 128)] * 200 + more) for more in ([], [(96, 200)]))
    assert "other proportions" in (problem(one_size, (96, 200)) or "")
    assert problem(another_too, (96, 200)) is None
    assert another_too.images == 201


def test_of_many_sizes_a_bundle_tells_the_narrowest_and_the_widest() -> None:
    likeness = likeness_of(mono(1), 0.5, [(96, 96 + i % 50) for i in range(100)])
    assert likeness.sizes == ((96, 96), (96, 145))
    assert likeness.support_remarks()[-1].startswith("The images are 1.00 to 1.51 times as wide as high")


@pytest.mark.parametrize(("colour", "told"), [(True, True), (False, False), (None, False)])
def test_colour_from_a_mono_line_is_told_of_and_a_streams_frame_does_not_tell(colour: bool | None, told: bool) -> None:
    remark = likeness_of(mono(2), 0.5).remark(Seen(PIXELS, (96, 128), colour))
    assert (remark is not None and remark.startswith("Some images are colour")) == told
