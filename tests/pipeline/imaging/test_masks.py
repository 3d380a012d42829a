"""Masks: what marks a defect, and which files are refused."""

import numpy as np
import pytest

from pipeline.errors import ImageError
from pipeline.imaging.masks import read_mask
from tests.parts.image_files import GREY, bmp, jpeg, png


def test_a_mask_is_whatever_is_not_zero(save):
    mask = np.zeros((30, 40), np.uint8)
    mask[3:9, 5:7] = 1
    np.testing.assert_array_equal(read_mask(save(png(mask)), (30, 40)), mask != 0)
    coloured = np.dstack([mask * 0, mask * 200, mask * 0, np.full_like(mask, 255)])  # alpha is no defect
    result = read_mask(save(png(coloured)), (30, 40))
    np.testing.assert_array_equal(result, mask != 0)
    assert result.dtype == np.bool_
    tiny = np.ones((2, 3), np.uint8)
    assert read_mask(save(bmp(tiny)), (2, 3)).all()


def test_a_mask_must_fit_its_image(save):
    path = save(png(np.zeros((30, 40), np.uint8)), "001_mask.png")
    with pytest.raises(ImageError) as caught:
        read_mask(path, (30, 41))
    assert str(caught.value) == (
        f"expected a mask of its image's size, 30 x 41 pixels, got 30 x 40 pixels in {path}: "
        "save the mask at the image's size"
    )


def test_a_jpeg_is_no_mask(save):
    with pytest.raises(ImageError, match="expected a lossless mask, got a JPEG, whose noise is not zero"):
        read_mask(save(jpeg(GREY)), (120, 90))
