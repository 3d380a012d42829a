"""TIFFs of 12 bits a pixel, two pixels in three bytes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ImageError
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, open_image, read_image
from tests.parts.image_files import packed_tiff, png

DEEP = np.random.default_rng(0).integers(0, 4096, (40, 33), np.uint16)  # an odd width: a row ends within three bytes


@pytest.mark.parametrize("rows_per_strip", [None, 16, 1])
def test_packed_pixels_are_those_that_were_packed(rows_per_strip):
    encoded = open_image(packed_tiff(DEEP, rows_per_strip))
    assert (encoded.bit_depth, encoded.channels, encoded.upright_size) == (16, 1, DEEP.shape)
    np.testing.assert_array_equal(encoded.decode(0, 0), DEEP)


def test_a_packed_image_is_seen_as_the_same_one_in_16_bits(tmp_path):
    spec = PreprocessSpec(height=32, width=32, white_level=4095)
    (tmp_path / "packed.tif").write_bytes(packed_tiff(DEEP))
    (tmp_path / "plain.png").write_bytes(png(DEEP))
    packed, plain = (read_image(tmp_path / name, spec) for name in ("packed.tif", "plain.png"))
    assert not isinstance(packed, UnreadableImage)
    assert not isinstance(plain, UnreadableImage)
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.brightest == plain.brightest


def test_one_that_ends_early_is_damaged():
    whole = packed_tiff(DEEP, 16)
    for cut in (1, 100, 1000):
        with pytest.raises(ImageError, match="ends early"):
            open_image(whole[:-cut])
