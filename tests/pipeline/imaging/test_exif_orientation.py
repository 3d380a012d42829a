"""What EXIF says about which side is up."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imaging.images import (
    read_native,
    require_image,
)
from pipeline.imaging.orientation import exif_orientation
from tests.parts.image_files import (
    SPEC,
    TURNED,
    exif_block,
    jpeg,
    jpeg_with_exif,
    picture,
    png,
    png_with_exif,
    reason,
    tiff,
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "label",
    [
        pytest.param(lambda data, o: jpeg_with_exif(jpeg(data), exif_block(o)), id="jpeg"),
        pytest.param(lambda data, o: jpeg_with_exif(jpeg(data), exif_block(o, ">")), id="jpeg big-endian"),
        pytest.param(lambda data, o: png_with_exif(png(data), exif_block(o)), id="png"),
        pytest.param(lambda data, o: tiff(data, extratags=[(274, "H", 1, o, True)]), id="tiff"),
        pytest.param(
            lambda data, o: tiff(data, extratags=[(274, "H", 1, o, True)], compression="zlib"), id="tiff deflate"
        ),
    ],
)
def test_orientation_is_applied(save, orientation, label):
    stored = picture(200, 150)
    path = save(label(stored, orientation))
    upright = np.ascontiguousarray(TURNED[orientation](stored))
    native = read_native(path)
    assert native.shape == upright.shape
    assert np.abs(native.astype(int) - upright).mean() < 2
    decoded = require_image(path, SPEC)
    assert decoded.source_size == upright.shape[:2]
    area = cv2.resize(upright, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.pixels.astype(int) - area).mean() < 2


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"II*\x00\x08\x00\x00\x00" + tail))
@settings(database=None, deadline=None)
def test_any_exif_block_gives_an_orientation(block):
    assert exif_orientation(block) in range(1, 9)


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\x00", exif_block(0), exif_block(9), exif_block(6)[:-8], b"XX" + exif_block(6)[2:],
     exif_block(6).replace(b"\x03\x00\x01", b"\x04\x00\x01"), b"II*\x00\xff\xff\xff\xff" + bytes(20)],
)  # fmt: skip
def test_a_malformed_exif_block_means_upright(save, block):
    stored = picture()
    assert read_native(save(jpeg_with_exif(jpeg(stored), block))).shape == stored.shape
    assert exif_orientation(block) == 1


def test_an_orientation_with_a_wrong_checksum_is_damage(save):
    whole = bytearray(png_with_exif(png(picture()), exif_block(6)))
    whole[whole.index(b"eXIf") + 4 + 18] = 3  # what is turned another way by it looks like any other image
    assert "a complete PNG, got one with a wrong checksum" in reason(save(bytes(whole)))
