"""JPEGs by nvJPEG: its pixels, what it is not given, and what libjpeg decodes in its place.

It runs on any machine: asked for the "cpu", torchvision decodes with its own libjpeg, and all else is what a GPU gets.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from deploy.decoding import nvjpeg
from deploy.decoding.agreement import MOST_MEAN
from deploy.decoding.nvjpeg import NvJpeg, halved
from pipeline.errors import DeviceError, ImageError
from pipeline.imaging.images import (
    DecodedImage,
    ImageLimits,
    UnreadableImage,
    fit_image,
    image_limits,
    open_image,
    read_image,
)
from pipeline.imaging.jpeg import is_plain
from pipeline.imaging.resizing import halvings
from tests.deploy.decoding.nvjpeg_parts import (
    WHOLE,
    failing,
    progressive,
    rgb_coded,
    told,
    two_frames,
    without_quantisation,
)
from tests.parts.image_files import GREY, SPEC, cmyk_jpeg, exif_block, jpeg, jpeg_with_exif, picture, png

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 2, 3), (90, 160, 3), (202, 310, 1)])
def test_halving_rounds_as_opencv_does(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = cv2.resize(pixels, (shape[1] // 2, shape[0] // 2), interpolation=cv2.INTER_AREA)
    got = halved(torch.from_numpy(pixels).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(got, expected.reshape(got.shape))


def test_how_often_is_halved() -> None:
    assert halvings(1024, 1024, 512, 512) == 1
    assert halvings(1024, 1024, 513, 100) == 0
    assert halvings(1000, 4000, 100, 100) == 3, "125 is odd"
    assert halvings(1024, 1024, 0, 0) == 0, "every pixel was asked for"


@pytest.mark.parametrize("size", [(480, 640), (481, 640), (60, 50), (32, 48)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("grey", [False, True])
def test_halving_early_changes_no_pixel(size: tuple[int, int], orientation: int, grey: bool) -> None:
    pixels = picture(*size)
    data = jpeg_with_exif(jpeg(pixels[:, :, 0].copy() if grey else pixels), exif_block(orientation))
    encoded = NvJpeg("cpu").open_strictly(data, image_limits())
    every = encoded.decode(0, 0)
    assert every.shape == (size if grey else (*size, 3))
    np.testing.assert_allclose(every.astype(int), open_image(data).decode(0, 0), atol=2)
    at_once = replace(encoded, decode=lambda _height, _width: every)
    np.testing.assert_array_equal(fit_image(encoded, SPEC), fit_image(at_once, SPEC))
    if size == (480, 640):
        assert encoded.decode(64, 96).shape[:2] == (120, 160), "few pixels come back from the GPU"


def test_a_file_is_read_as_ever(save) -> None:
    path = save(jpeg_with_exif(WHOLE, exif_block(6)), "a.jpg")
    got, expected = read_image(path, SPEC, opener=NvJpeg("cpu").open), read_image(path, SPEC)
    assert isinstance(got, DecodedImage)
    assert isinstance(expected, DecodedImage)
    assert (got.sha256, got.source_size, got.bit_depth) == (expected.sha256, (640, 480), 8)
    assert np.abs(got.pixels.astype(int) - expected.pixels).mean() < MOST_MEAN


def test_threads_share_a_decoder() -> None:
    files = [jpeg(picture(200 + 8 * index, 320, seed=index)) for index in range(16)]
    decoder = NvJpeg("cpu")

    def fitted(data: bytes) -> np.ndarray:
        return fit_image(decoder.open_strictly(data, image_limits()), SPEC)

    alone = [fitted(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(fitted, files), alone, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_other_formats_are_not_its_business() -> None:
    encoded = NvJpeg("cpu").open(png(picture()), image_limits())
    np.testing.assert_array_equal(encoded.decode(0, 0), open_image(png(picture())).decode(0, 0))


# --- what it does not get, and what it fails on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        pytest.param(WHOLE, True, id="colour"),
        pytest.param(jpeg(GREY), True, id="grey"),
        pytest.param(jpeg_with_exif(WHOLE, exif_block(6)), True, id="turned"),
        pytest.param(WHOLE + bytes(4096), True, id="padded"),
        pytest.param(WHOLE[:-2], False, id="no end"),
        pytest.param(jpeg_with_exif(WHOLE, WHOLE[:60] + b"\xff\xd9")[:-9], False, id="only a thumbnail's end"),
        pytest.param(progressive(picture()), False, id="progressive"),
        pytest.param(rgb_coded(picture()), False, id="RGB"),
        pytest.param(two_frames(WHOLE), False, id="two frames"),
    ],
)
def test_what_is_plain(data: bytes, plain: bool) -> None:
    assert is_plain(data) is plain


@pytest.mark.parametrize("data", [progressive(picture()), rgb_coded(picture())], ids=["progressive", "RGB"])
def test_what_nvjpeg_does_not_get_is_libjpegs_picture_and_told_once(
    data: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvjpeg, "decode_jpeg", None)  # calling it is a TypeError
    opener = NvJpeg("cpu").open
    for _ in range(2):
        np.testing.assert_array_equal(fit_image(opener(data, image_limits()), SPEC), fit_image(open_image(data), SPEC))
    assert told(caplog) == ["libjpeg decodes an image, and all others like it: not a baseline JPEG in grey or YCbCr"]


@pytest.mark.parametrize("kept", [*(part / 20 for part in range(20)), 0.9999])
def test_a_file_that_ends_early_is_refused_in_the_same_words(save, kept: float, caplog) -> None:
    path = save(WHOLE[: int(len(WHOLE) * kept)], "cut.jpg")
    got = read_image(path, SPEC, opener=NvJpeg("cpu").open)
    assert isinstance(got, UnreadableImage)
    assert got == read_image(path, SPEC)
    assert told(caplog) == []


def test_damage_that_the_decoder_refuses_is_refused_in_the_same_words(save, caplog) -> None:
    damaged = without_quantisation(WHOLE)
    assert is_plain(damaged)
    path = save(damaged, "damaged.jpg")
    got = read_image(path, SPEC, opener=NvJpeg("cpu").open)
    assert isinstance(got, UnreadableImage)
    assert got == read_image(path, SPEC)
    assert told(caplog) == []


def test_a_damaged_file_never_raises(save) -> None:
    rng, opener = np.random.default_rng(0), NvJpeg("cpu").open
    whole = jpeg_with_exif(jpeg(picture()), exif_block(6))
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[min(at, rng.integers(1, 700))] = rng.integers(0, 256)
        result = read_image(save(bytes(damaged), "damaged.jpg"), SPEC, ImageLimits(max_pixels=1_000_000), opener)
        assert isinstance(result, UnreadableImage) or result.pixels.shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("data", "limits", "match"),
    [
        (WHOLE, ImageLimits(max_pixels=100_000), "at most 100,000 pixels"),
        (two_frames(WHOLE), ImageLimits(), "complete JPEG"),
        (cmyk_jpeg(), ImageLimits(), "print colours"),
        (jpeg(picture(8, 90)), ImageLimits(), "at least 16 pixels"),
        (b"hello", ImageLimits(), "JPEG, PNG, BMP or TIFF"),
    ],
    ids=["huge", "two frames", "ink", "tiny", "text"],
)
def test_checks_hold_before_the_gpu_sees_a_byte(
    data: bytes, limits: ImageLimits, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvjpeg, "decode_jpeg", None)
    with pytest.raises(ImageError, match=match):
        NvJpeg("cpu").open(data, limits).decode(64, 96)


def test_without_memory_libjpeg_decodes_and_it_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
    monkeypatch.setattr(nvjpeg, "decode_jpeg", failing(error))
    decoder = NvJpeg("cpu")
    for data in (WHOLE, jpeg(GREY)):
        pixels = fit_image(decoder.open(data, image_limits()), SPEC)
        np.testing.assert_array_equal(pixels, fit_image(open_image(data), SPEC))
    assert told(caplog) == [
        "libjpeg decodes an image, and all others like it: nvJPEG failed "
        "(CUDA out of memory. Tried to allocate 2.00 GiB.)"
    ]


def test_a_picture_of_another_size_is_none(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(nvjpeg, "decode_jpeg", lambda *_: torch.zeros(3, 8, 8, dtype=torch.uint8))
    pixels = fit_image(NvJpeg("cpu").open(WHOLE, image_limits()), SPEC)
    np.testing.assert_array_equal(pixels, fit_image(open_image(WHOLE), SPEC))
    assert told(caplog) == [
        "libjpeg decodes an image, and all others like it: nvJPEG failed (pixels of shape (3, 8, 8))"
    ]


def test_a_gpu_that_is_gone_ends_the_run() -> None:
    """torch's device "meta" cannot be waited for, as a lost GPU cannot."""
    encoded = NvJpeg("meta").open(without_quantisation(WHOLE), image_limits())
    with pytest.raises(DeviceError, match=r"expected a GPU that decodes JPEGs, got one that failed .*: look into"):
        encoded.decode(64, 96)
