"""Decode and resize: every format and depth, and every way a file can be bad."""

import hashlib
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.imaging.images import DecodedImage, PreprocessSpec, open_image, read_image, read_native, require_image
from pipeline.imaging.white_level import depth_problem, line_white_level
from pipeline.product_lines.examined_images import ExaminedImage, examine_images
from pipeline.product_lines.lines import ImageRecord
from pipeline.storage import sha256_file
from tests.parts.image_files import (
    ALPHA,
    DEEP,
    DEEP_COLOUR,
    GREY,
    SPEC,
    bmp,
    jpeg,
    picture,
    png,
    png_chunk,
    png_header,
    tiff,
)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        pytest.param(png(picture()), picture(), id="png colour"),
        pytest.param(png(GREY), GREY, id="png mono"),
        pytest.param(png(ALPHA), picture(), id="png alpha"),
        pytest.param(png(DEEP), GREY, id="png mono 16"),
        pytest.param(png(DEEP_COLOUR), picture(), id="png colour 16"),
        pytest.param(bmp(picture()), picture(), id="bmp colour"),
        pytest.param(bmp(GREY), GREY, id="bmp mono"),
        pytest.param(
            cv2.imencode(".bmp", cv2.cvtColor(ALPHA, cv2.COLOR_RGBA2BGRA))[1].tobytes(), picture(), id="bmp 32"
        ),
        pytest.param(tiff(picture()), picture(), id="tiff colour"),
        pytest.param(tiff(GREY), GREY, id="tiff mono"),
        pytest.param(tiff(DEEP), GREY, id="tiff mono 16"),
        pytest.param(tiff(DEEP, byteorder=">"), GREY, id="tiff mono 16 big-endian"),
        pytest.param(tiff(DEEP, bigtiff=True), GREY, id="bigtiff mono 16"),
        pytest.param(tiff(DEEP_COLOUR), picture(), id="tiff colour 16"),
        pytest.param(tiff(ALPHA, extrasamples=["unassalpha"]), picture(), id="tiff alpha"),
        pytest.param(tiff(np.moveaxis(picture(), 2, 0), planarconfig="separate"), picture(), id="tiff planes"),
        pytest.param(
            tiff(np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig"), GREY, id="tiff LA"
        ),
        pytest.param(tiff(GREY, photometric="miniswhite"), 255 - GREY, id="tiff white is zero"),
        pytest.param(tiff(picture(), tile=(32, 32)), picture(), id="tiff tiles"),
        pytest.param(tiff(picture(), rowsperstrip=7), picture(), id="tiff strips"),
        pytest.param(tiff(picture(), compression="zlib"), picture(), id="tiff deflate"),
        pytest.param(tiff(DEEP, compression="zlib", predictor=True), GREY, id="tiff deflate 16 predictor"),
        pytest.param(tiff(DEEP_COLOUR, compression="zlib"), picture(), id="tiff deflate colour 16"),
        pytest.param(cv2.imencode(".tiff", picture()[:, :, ::-1])[1].tobytes(), picture(), id="tiff lzw"),
        pytest.param(cv2.imencode(".tiff", DEEP)[1].tobytes(), GREY, id="tiff lzw 16"),
    ],
)
def test_lossless_formats_come_back_exactly(save, encoded, expected):
    path = save(encoded, "name.jpg")  # the suffix says nothing
    rgb = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    native = read_native(path)
    np.testing.assert_array_equal(native, rgb)
    assert native.flags.writeable  # pixels of a plain file are looked at where they lie: nobody may draw there
    decoded = require_image(path, SPEC)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.source_size == (120, 90)
    area = cv2.resize(rgb, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.pixels.astype(int) - area).max() <= 1  # deep pixels round once, after the resize
    header = open_image(encoded)
    assert header.bit_depth == decoded.bit_depth == (16 if header.decode(0, 0).dtype == np.uint16 else 8)
    assert header.channels == (1 if header.decode(0, 0).ndim == 2 else header.decode(0, 0).shape[2])


@pytest.mark.parametrize("from_the_top", [False, True])
@pytest.mark.parametrize("pixels", [picture(60, 91), picture(60, 91)[:, :, 0]], ids=["colour", "mono"])
def test_the_rows_of_a_bmp_come_in_either_order_and_padded(save, pixels, from_the_top):
    encoded = bytearray(bmp(pixels[::-1] if from_the_top else pixels))
    if from_the_top:
        struct.pack_into("<i", encoded, 22, -len(pixels))
    path = save(bytes(encoded), "rows.bmp")
    rgb = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    np.testing.assert_array_equal(read_native(path), rgb)
    area = cv2.resize(rgb, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(require_image(path, SPEC).pixels.astype(int) - area).max() <= 1


def test_a_bmp_palette_that_is_no_ramp_of_greys_is_looked_up(save):
    encoded = bytearray(bmp(GREY))
    encoded[54 : 54 + 4 * 256] = b"".join(bytes([255 - level] * 3) + b"\0" for level in range(256))
    np.testing.assert_array_equal(read_native(save(bytes(encoded), "palette.bmp"))[:, :, 0], 255 - GREY)


@pytest.mark.parametrize("pixels", [GREY, picture()], ids=["mono", "colour"])
def test_jpeg(save, pixels):
    native = read_native(save(jpeg(pixels)))
    rgb = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    assert np.abs(native.astype(int) - rgb).mean() < 2
    assert open_image(jpeg(pixels)).channels == (1 if pixels.ndim == 2 else 3)


@pytest.mark.parametrize("size", [(512, 640), (1000, 700), (600, 2000), (1024, 1024)])
def test_scaled_jpeg_decode_is_within_a_grey_level_of_a_full_one(save, size):
    noise = np.random.default_rng(1).normal(0, 5, (*size, 3))
    noisy = np.clip(picture(*size) + noise, 0, 255).astype(np.uint8)
    path = save(jpeg(noisy, quality=90))
    spec = PreprocessSpec(height=64, width=80)
    scaled = require_image(path, spec)
    full = cv2.resize(read_native(path), (80, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(scaled.pixels.astype(int) - full).mean() < 1
    assert scaled.source_size == size
    decoded = open_image(path.read_bytes()).decode(128, 160)
    assert decoded.shape[0] < size[0], "the decoder did not scale"
    assert decoded.shape[0] >= 128
    assert decoded.shape[1] >= 160


@pytest.mark.parametrize(
    ("size", "most"), [((512, 640), 1), ((1024, 1280), 1), ((1024, 1224), 4), ((1023, 640), 0), ((256, 320), 1)]
)
def test_a_large_image_is_resized_as_by_one_area_resize(save, size, most):
    """Halved first, where that is exact; else the mean of the difference stays far below a grey level."""
    noise = np.random.default_rng(1).normal(0, 5, (*size, 3))
    pixels = np.clip(picture(*size) + noise, 0, 255).astype(np.uint8)
    resized = require_image(save(bmp(pixels)), PreprocessSpec(height=64, width=80)).pixels
    difference = np.abs(resized.astype(int) - cv2.resize(pixels, (80, 64), interpolation=cv2.INTER_AREA))
    assert difference.max() <= most
    assert difference.mean() < 0.6


def test_a_palette_png_is_its_colours(save):
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    rows = b"".join(b"\x00" + bytes([0b01010101] * 4) for _ in range(20))
    data = (
        png_header(32, 20, bits=1, colour_type=3)
        + palette
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
    native = read_native(save(data))
    np.testing.assert_array_equal(native[0, :2], [[10, 20, 30], [200, 100, 50]])
    assert open_image(data).channels == 3


@pytest.mark.parametrize(("colour_type", "transparent", "channels"), [(0, b"\0\5", 1), (2, b"\0\5" * 3, 4)])
def test_a_transparent_colour_is_no_other_picture(save, colour_type, transparent, channels):
    samples = 1 if colour_type == 0 else 3
    rows = b"".join(b"\x00" + bytes(range(20 * samples)) for _ in range(20))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    data = png_header(20, 20, colour_type=colour_type) + png_chunk(b"tRNS", transparent) + body
    expected = np.repeat(np.arange(20)[:, None], 3, 1) if samples == 1 else np.arange(60).reshape(20, 3)
    np.testing.assert_array_equal(read_native(save(data))[0], expected)
    assert open_image(data).channels == channels


def test_deep_pixels_map_white_level_to_255_and_saturate(save):
    ramp = np.tile(np.array([0, 16, 2047, 4095, 5000, 65535], np.uint16).repeat(8), (32, 1))
    path = save(tiff(ramp))
    twelve_bit = require_image(path, PreprocessSpec(height=32, width=48, white_level=4095)).pixels
    np.testing.assert_array_equal(twelve_bit[0, ::8, 0], [0, 1, 127, 255, 255, 255])
    full_range = require_image(path, PreprocessSpec(height=32, width=48)).pixels
    np.testing.assert_array_equal(full_range[0, ::8, 0], [0, 0, 8, 16, 19, 255])
    np.testing.assert_array_equal(read_native(path, white_level=4095), twelve_bit)


def test_white_level_leaves_8_bit_images_alone(save):
    path = save(png(GREY))
    with_level = require_image(path, PreprocessSpec(height=32, width=48, white_level=4095))
    np.testing.assert_array_equal(with_level.pixels, require_image(path, SPEC).pixels)


@pytest.mark.parametrize(("height", "width"), [(64, 24), (24, 64), (20, 20), (32, 48), (400, 16)])
def test_any_aspect_is_resized_without_aliasing(save, height, width):
    flat = np.full((height, width, 3), 128, np.uint8)
    flat[::2] += 20  # alternate rows: sampled instead of averaged, they would come out as stripes
    flat[:, ::2] -= 20
    pixels = require_image(save(png(flat)), SPEC).pixels
    assert pixels.shape == (32, 48, 3)
    if height >= 2 * 32 and height % 32 == 0:
        averaged = flat.reshape(32, height // 32, width, 3).mean(1)
        assert np.ptp(pixels[:, 0].astype(int)) <= 1
        assert abs(pixels.mean() - averaged.mean()) < 1
    if (height, width) == (32, 48):
        np.testing.assert_array_equal(pixels, flat)


@pytest.mark.parametrize("kwargs", [{"height": 0, "width": 8}, {"height": 8, "width": 8, "white_level": 0}])
def test_an_impossible_spec_is_refused(kwargs):
    with pytest.raises(ConfigError):
        PreprocessSpec(**kwargs)


def test_the_hash_is_of_the_bytes(save):
    path = save(png(GREY))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    result = read_image(path, SPEC)
    assert isinstance(result, DecodedImage)
    assert result.sha256 == require_image(path, SPEC).sha256 == sha256_file(path) == expected
    damaged = save(b"nothing useful", "text.png")
    unreadable = read_image(damaged, SPEC)
    assert unreadable.sha256 == sha256_file(damaged)
    assert unreadable.path == damaged


def test_threads_agree_with_one_another(save):
    paths = [save(jpeg(picture(300, 200, seed)), f"{seed}.jpg") for seed in range(8)]
    alone = [require_image(path, SPEC).pixels for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: require_image(path, SPEC).pixels, paths * 4))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 8])


# White level


@pytest.mark.parametrize(
    ("brightest", "level"),
    [(0, 255), (255, 255), (256, 1023), (4000, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_white_level_covers_the_brightest_pixel(save, brightest, level):
    deep = np.zeros((20, 20), np.uint16)
    deep[3, 4] = brightest
    records = [ImageRecord(save(data, f"{at}.png"), "a", "good") for at, data in enumerate((png(deep), tiff(deep * 0)))]
    found = [image for image in examine_images(records) if isinstance(image, ExaminedImage)]
    assert [image.brightest for image in found] == [brightest, 0]
    assert line_white_level(max(image.brightest for image in found)) == level


@pytest.mark.parametrize(
    ("bit_depth", "brightest", "white_level", "problem"),
    [
        (8, 255, None, None),
        (16, 4095, 4095, None),
        (16, 900, 4095, None),
        (16, 65535, None, "expected an image of 8 bits"),
        (8, 255, 4095, "expected an image of more than 8 bits"),
        (16, 4096, 4095, "expected pixels up to the line's white level, 4095, got 4096"),
    ],
)
def test_an_image_whose_values_mean_another_brightness(bit_depth, brightest, white_level, problem):
    told = depth_problem(bit_depth, brightest, white_level)
    assert told is None if problem is None else str(told).startswith(problem)


def test_the_brightest_pixel_is_of_the_file_not_of_what_the_model_sees(save):
    deep = np.zeros((600, 600), np.uint16)
    deep[7, 9] = 5000
    assert require_image(save(png(deep)), SPEC).brightest == 5000
    assert require_image(save(tiff(deep)), SPEC).brightest == 5000
    assert require_image(save(png(GREY)), SPEC).brightest == 255


def test_8_bit_images_have_no_white_level():
    assert line_white_level(None) is None
    assert line_white_level(900, 4095) == 4095
    for brightest in (None, 4096):
        with pytest.raises(ConfigError, match="white level"):
            line_white_level(brightest, 4095)
