"""Bayer mosaics: colour by the stated pattern, asked about where nobody stated one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ImageError
from pipeline.imaging.bayer import looks_like_mosaic
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import (
    PreprocessSpec,
    UnreadableImage,
    decode_frame,
    open_image,
    read_image,
    read_native,
    require_image,
)
from pipeline.product_lines.examined_images import ExaminedImage, examine_images
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.lines import load_line
from tests.parts.image_files import exif_block, jpeg, jpeg_with_exif
from tests.parts.line_on_disk import picture, save

RGB = picture(1)[:, :, ::-1]


def mosaic(rgb: np.ndarray, pattern: BayerPattern) -> np.ndarray:
    """What a sensor with the pattern sees."""
    pixels = np.empty(rgb.shape[:2], rgb.dtype)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        pixels[rows, columns] = rgb[rows, columns, "RGB".index(colour)]
    return pixels


def near(image: np.ndarray, expected: np.ndarray = RGB) -> bool:
    inner = (slice(4, -4), slice(4, -4))
    return float(np.abs(image.astype(int) - expected)[inner].mean()) < 4


@pytest.mark.parametrize("pattern", BayerPattern)
@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_a_mosaic_becomes_colour_by_its_pattern(tmp_path, pattern, suffix):
    file = save(tmp_path / f"0.{suffix}", mosaic(RGB, pattern))
    spec = PreprocessSpec(height=96, width=128, bayer=pattern)
    assert near(require_image(file, spec).pixels)
    assert near(read_native(file, bayer=pattern))
    others = [other for other in BayerPattern if other != pattern]
    assert not any(near(read_native(file, bayer=other)) for other in others)
    grey = read_native(file)
    assert (grey[..., 0] == grey[..., 1]).all()


def test_a_deep_mosaic_has_a_white_level(tmp_path):
    file = save(tmp_path / "0.png", mosaic(RGB.astype(np.uint16) * 16, BayerPattern.GBRG))
    spec = PreprocessSpec(height=96, width=128, white_level=4095, bayer=BayerPattern.GBRG)
    image = require_image(file, spec)
    assert (near(image.pixels), image.bit_depth) == (True, 16)
    assert image.brightest <= 4080


def test_what_is_no_mosaic_is_refused(tmp_path):
    spec = PreprocessSpec(height=32, width=32, bayer=BayerPattern.RGGB)
    colour = save(tmp_path / "0.png", RGB)
    compressed = tmp_path / "1.jpg"
    compressed.write_bytes(jpeg_with_exif(jpeg(mosaic(RGB, BayerPattern.RGGB)), exif_block(1)))
    for file, got in ((colour, "got colour"), (compressed, "got a JPEG, which blurs")):
        image = read_image(file, spec)
        assert isinstance(image, UnreadableImage)
        assert f"expected a Bayer mosaic (RGGB) of one channel in a PNG, BMP or TIFF, {got}" in image.reason
    with pytest.raises(
        ImageError, match="got colour: set the camera as it was, or adapt the line again without --bayer"
    ):
        decode_frame(np.ascontiguousarray(RGB), spec)


def test_mosaics_are_asked_about_and_other_grey_images_are_not(tmp_path):
    raw = (RGB * np.array([0.5, 1.0, 0.6])).astype(np.uint8)  # a sensor sees more green
    for number in range(4):
        save(tmp_path / f"good/{number}.png", mosaic(np.roll(raw, number, axis=1), BayerPattern.RGGB))
    line = load_line(tmp_path)
    (sentence,) = [problem.sentence for problem in check_line(line).problems]
    assert sentence.startswith("4 images of one channel with a colour sensor's checker, good/0.png, good/1.png")
    spoken_of = examine_images(line.train_good, bayer=BayerPattern.RGGB)
    assert [image.mosaic for image in spoken_of if isinstance(image, ExaminedImage)] == [False] * 4
    interlaced = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
    interlaced[::2] //= 2  # rows that differ, as an old camera's
    for number in range(4):
        save(tmp_path / f"good/{number}.png", np.roll(interlaced, number, axis=0))
    assert check_line(line).problems == ()


def test_no_real_grey_image_looks_like_a_mosaic(real_lines: Path):
    for folder in ("mvtec/pill", "elpv/mono", "glassfiber_sdu/glassfiber", "magnetic_tile/tile"):
        for record in load_line(real_lines / folder).train_good[:10]:
            encoded = open_image(record.path.read_bytes())
            pixels = encoded.decode(0, 0)
            grey = pixels if pixels.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
            assert not looks_like_mosaic(encoded, grey), record.path
