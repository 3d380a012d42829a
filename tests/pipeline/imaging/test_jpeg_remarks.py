"""What libjpeg remarks on: the same pixels as another decoder where it is harmless, refused where it is damage."""

import re
from io import BytesIO

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.images import UnreadableImage, read_image, read_native, require_image
from pipeline.imaging.jpeg import is_plain
from tests.parts.image_files import SPEC, exif_block, jpeg, jpeg_with_exif, picture, reason

WHOLE = jpeg(picture())
SCAN = WHOLE.index(b"\xff\xda")
TABLE = WHOLE.index(b"\xff\xdb")
LAST_OF_SCAN = SCAN + 2 + int.from_bytes(WHOLE[SCAN + 2 : SCAN + 4], "big")
JFIF = WHOLE.index(b"JFIF\x00") + 5


def put(at: int, stray: bytes, data: bytes = WHOLE, *, instead_of: int = 0) -> bytes:
    return data[:at] + stray + data[at + instead_of :]


END = len(WHOLE) - 2
HARMLESS = {
    "four bytes at the end": put(END, b"\x12\x34\x56\x78"),
    "as many as a buffer may hold": put(END, bytes(range(1, 64))),
    "filled up with zeros": put(END, bytes(2000)),
    "filled up with ones": put(END, b"\xff" * 2000),
    "a stuffed marker at the end": put(END, b"\x12\xff\x00\x34\x56\x78\x9a\xbc\xde"),
    "fill bytes behind them": put(END, b"\x12\x34\x56\x78\xff\xff\xff"),
    "behind the end marker": WHOLE + b"\x12\x34",
    "one byte before a table": put(TABLE, b"\x12"),
    "many bytes before the scan": put(SCAN, b"\x12" * 608),
    "a stuffed marker before a table": put(TABLE, b"\x12\xff\x00\x13"),
    "parameters of a scan that has none": put(LAST_OF_SCAN - 3, bytes(3), instead_of=3),
    "an unknown JFIF version": put(JFIF, b"\x03\x01", instead_of=2),
    "before a table and at the end": put(END, b"\x12\x34\x56\x78" * 3)[:TABLE] + b"\x12" + put(END, b"4" * 9)[TABLE:],
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_is_read_as_by_every_other_decoder(save, data):
    pixels = read_native(save(data, "0.jpg"))
    np.testing.assert_array_equal(pixels, read_native(save(WHOLE, "whole.jpg")))
    others = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.array(Image.open(BytesIO(data)))]
    for other in others:
        np.testing.assert_array_equal(pixels, other)
    assert is_plain(data)


DAMAGED = {
    "a picture that lost its thread": put(END, np.random.default_rng(0).bytes(300).replace(b"\xff", b"\x01")),
    "cut off": WHOLE[:-200],
    "cut off, with an end marker": WHOLE[:-200] + b"\xff\xd9",
    "without its end marker": WHOLE[:-2],
    "harmless bytes, then cut off": put(TABLE, b"\x12", WHOLE[:-200] + b"\xff\xd9"),
    "harmless parameters, then cut off": put(LAST_OF_SCAN - 3, bytes(3), WHOLE[:-200] + b"\xff\xd9", instead_of=3),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused_also_behind_a_harmless_remark(save, data):
    assert reason(save(data, "0.jpg")).startswith("expected a complete JPEG")


def test_stray_bytes_among_the_data_are_damage(save):
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    restart = data.index(b"\xff\xd1", data.index(b"\xff\xda"))
    assert "extraneous bytes before marker 0xd" in reason(save(put(restart, b"\x12" * 9, data), "0.jpg"))


def test_stray_bytes_before_a_restart_marker_and_damage_look_alike(save):
    """Why they are refused: bytes put between two intervals change nothing, bytes doubled in one change pixels, and
    libjpeg remarks on both in the same words. Of 3,000 pictures with an interval in which bytes were changed, lost or
    doubled 89 had this remark and other pixels.
    """
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes()
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    starts = [found.end() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    between = put(starts[1] - 2, b"\x12" * 9, data)
    doubled = [put(at, data[at - 6 : at], data) for start in starts[:-1] for at in range(start + 6, start + 60, 7)]
    same = {True: 0, False: 0}
    for changed in (between, *doubled):
        file = save(changed, "0.jpg")
        if isinstance(read_image(file, SPEC), UnreadableImage) and "bytes before marker 0xd" in reason(file):
            pixels = cv2.imdecode(np.frombuffer(changed, np.uint8), cv2.IMREAD_COLOR)
            same[np.array_equal(pixels, whole)] += 1
    assert all(same.values()), same


def test_a_label_behind_stray_bytes_still_counts(save):
    labelled = jpeg_with_exif(WHOLE, exif_block(6))
    label = labelled[2 : 2 + len(labelled) - len(WHOLE)]
    assert read_native(save(put(TABLE, b"\x12\x34" + label), "0.jpg")).shape == (90, 120, 3)


@given(stray=st.binary(min_size=1, max_size=40).filter(lambda stray: b"\xff" not in stray), grey=st.booleans())
@settings(database=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_few_bytes_before_the_end_marker_change_nothing(save, stray, grey):
    data = jpeg(picture()[:, :, 0].copy() if grey else picture())
    expected = require_image(save(data, "whole.jpg"), SPEC)
    result = require_image(save(data[:-2] + stray + data[-2:], "0.jpg"), SPEC)
    np.testing.assert_array_equal(result.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (r"\d+ extraneous bytes before marker 0xd9", "as many as a buffer may hold"),
        ("1 extraneous bytes before marker 0xdb", "one byte before a table"),
        ("Invalid SOS parameters for sequential JPEG", "parameters of a scan that has none"),
        ("unknown JFIF revision number 3.01", "an unknown JFIF version"),
    ],
)
def test_the_words_by_which_a_remark_is_known(words, kind):
    with pytest.raises(ValueError, match=words):
        simplejpeg.decode_jpeg(HARMLESS[kind])
