"""JPEGs by nvJPEG in scoring: when it is refused, what it is not given, and what libjpeg decodes in its place.

Most of it runs on any machine: asked for the "cpu", torchvision decodes with its own libjpeg, and all else is what a
GPU gets.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deploy.decoding import agreement as agreements
from deploy.decoding import choice, nvjpeg
from deploy.decoding.agreement import MOST, MOST_MEAN, Agreement, compare_with_libjpeg
from deploy.decoding.choice import image_opener, open_nvjpeg
from deploy.decoding.nvjpeg import NvJpeg, halved
from deploy.results.store import ResultStore
from flows.jobs import installation_checks, score, score_plant
from flows.jobs.installation_checks import Check, Verdict, check_installation
from flows.jobs.scoring_requests import ScorePlantRequest, ScoreRequest
from pipeline.errors import ConfigError, DeviceError, ImageError, ParityError
from pipeline.imaging.encoded import EncodedImage
from pipeline.imaging.images import (
    DEFAULT_LIMITS,
    DecodedImage,
    ImageLimits,
    Opener,
    PreprocessSpec,
    UnreadableImage,
    fit_image,
    open_image,
    read_image,
)
from pipeline.imaging.jpeg import is_plain
from pipeline.imaging.resizing import halvings
from pipeline.settings import DeviceName, JpegDecoder, load_settings
from tests.parts.backbones import cuda_works
from tests.parts.image_files import GREY, SPEC, cmyk_jpeg, exif_block, jpeg, jpeg_with_exif, picture, png
from tests.parts.plant import write_image, write_plant

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
without_gpu = pytest.mark.skipif(cuda_works(), reason="this machine has a GPU")

WHOLE = jpeg(picture(480, 640))


def progressive(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def rgb_coded(pixels: np.ndarray) -> bytes:
    """A JPEG whose components are red, green and blue, which Adobe's marker says; the JFIF marker would say YCbCr."""
    data = jpeg(pixels)
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[20:]


def without_quantisation(data: bytes) -> bytes:
    """A whole file with a readable header that no decoder can decode."""
    at = data.index(b"\xff\xdb")
    data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return without_quantisation(data) if b"\xff\xdb" in data else data


def two_frames(data: bytes) -> bytes:
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
    huge = frame[:5] + b"\xff\x00\xff\x00" + frame[9:]
    return data[:at] + frame + huge + data[at + len(frame) :]


@pytest.fixture(scope="module")
def samples() -> list[bytes]:
    return agreements.generated_jpegs()


@pytest.fixture
def on_cpu(samples: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """nvJPEG, wherever it is opened without a word about the device, is torchvision on the CPU."""
    monkeypatch.setattr(agreements, "generated_jpegs", lambda: samples)
    for module in (choice, installation_checks):
        monkeypatch.setattr(module, "open_nvjpeg", partial(open_nvjpeg, "cpu"))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


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
    encoded = NvJpeg("cpu").open_strictly(data, DEFAULT_LIMITS)
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
        return fit_image(decoder.open_strictly(data, DEFAULT_LIMITS), SPEC)

    alone = [fitted(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(fitted, files), alone, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_other_formats_are_not_its_business() -> None:
    encoded = NvJpeg("cpu").open(png(picture()), DEFAULT_LIMITS)
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
        np.testing.assert_array_equal(fit_image(opener(data, DEFAULT_LIMITS), SPEC), fit_image(open_image(data), SPEC))
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


def failing(error: Exception) -> Callable[..., torch.Tensor]:
    """What a GPU does that has no memory, and a torchvision without nvJPEG: nothing here can do it for real."""

    def decode(*_: object) -> torch.Tensor:
        raise error

    return decode


def test_without_memory_libjpeg_decodes_and_it_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
    monkeypatch.setattr(nvjpeg, "decode_jpeg", failing(error))
    decoder = NvJpeg("cpu")
    for data in (WHOLE, jpeg(GREY)):
        pixels = fit_image(decoder.open(data, DEFAULT_LIMITS), SPEC)
        np.testing.assert_array_equal(pixels, fit_image(open_image(data), SPEC))
    assert told(caplog) == [
        "libjpeg decodes an image, and all others like it: nvJPEG failed "
        "(CUDA out of memory. Tried to allocate 2.00 GiB.)"
    ]


def test_a_picture_of_another_size_is_none(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(nvjpeg, "decode_jpeg", lambda *_: torch.zeros(3, 8, 8, dtype=torch.uint8))
    pixels = fit_image(NvJpeg("cpu").open(WHOLE, DEFAULT_LIMITS), SPEC)
    np.testing.assert_array_equal(pixels, fit_image(open_image(WHOLE), SPEC))
    assert told(caplog) == [
        "libjpeg decodes an image, and all others like it: nvJPEG failed (pixels of shape (3, 8, 8))"
    ]


def test_a_gpu_that_is_gone_ends_the_run() -> None:
    """torch's device "meta" cannot be waited for, as a lost GPU cannot."""
    encoded = NvJpeg("meta").open(without_quantisation(WHOLE), DEFAULT_LIMITS)
    with pytest.raises(DeviceError, match=r"expected a GPU that decodes JPEGs, got one that failed .*: look into"):
        encoded.decode(64, 96)


# --- opening it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["torch", "torchvision.io"])
def test_it_is_not_installed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "deploy.decoding.nvjpeg")
    with pytest.raises(ConfigError) as caught:
        image_opener(JpegDecoder.NVJPEG)
    assert str(caught.value) == (
        "expected torch and torchvision, through which nvJPEG is used, "
        f"got 'import of {missing} halted; None in sys.modules': "
        "pip install 'linewise[train]', or unset LINEWISE_JPEG_DECODER"
    )


@without_gpu
def test_there_is_no_gpu() -> None:
    with pytest.raises(DeviceError) as caught:
        image_opener(JpegDecoder.NVJPEG)
    assert str(caught.value).startswith("expected a GPU that torch can use, for nvJPEG, got none (")
    assert str(caught.value).endswith("): mend that, or unset LINEWISE_JPEG_DECODER")


def test_libjpeg_is_what_it_was() -> None:
    assert image_opener(JpegDecoder.LIBJPEG) is open_image


def test_torchvision_was_built_without_it(on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support")
    monkeypatch.setattr(nvjpeg, "decode_jpeg", failing(error))
    with pytest.raises(DeviceError) as caught:
        image_opener(JpegDecoder.NVJPEG)
    assert str(caught.value) == (
        "expected nvJPEG to decode generated JPEGs, got 'decode_jpegs_cuda: torchvision not compiled with nvJPEG "
        "support': mend that, or unset LINEWISE_JPEG_DECODER"
    )


def test_full_decoding_and_halving_is_close_to_libjpegs_scaled_decoding(on_cpu: None) -> None:
    opener, agreement = open_nvjpeg("cpu")
    assert agreement.images == 4
    assert 0 < agreement.mean < MOST_MEAN
    assert 0 < agreement.largest < MOST
    assert f"within {agreement.mean:.2f} grey levels of libjpeg on average" in str(agreement)
    assert opener(WHOLE, DEFAULT_LIMITS).decode(64, 96).shape == (120, 160, 3)


def test_a_decoder_of_other_pixels_is_refused(on_cpu: None) -> None:
    assert compare_with_libjpeg(open_image) == Agreement(images=4, mean=0, largest=0)

    def changed(change: Callable[[np.ndarray], np.ndarray]) -> Opener:
        def opened(data: bytes, limits: ImageLimits) -> EncodedImage:
            encoded = open_image(data, limits)
            return replace(encoded, decode=lambda height, width: change(encoded.decode(height, width)))

        return opened

    def brighter(pixels: np.ndarray) -> np.ndarray:
        return np.minimum(pixels, 252) + 3

    for change in (np.zeros_like, np.flip, brighter):
        with pytest.raises(ParityError, match="unset LINEWISE_JPEG_DECODER"):
            compare_with_libjpeg(changed(change))


# --- the jobs and the doctor -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one live line and its images: a baseline JPEG, a progressive one, one that ends early, a PNG."""
    root = tmp_path_factory.mktemp("plant")
    write_plant(root / "home")
    images = root / "images" / "mvtec" / "pill"
    images.mkdir(parents=True)
    for name, data in {"whole": WHOLE, "progressive": progressive(picture()), "cut": WHOLE[:-400]}.items():
        (images / f"{name}.jpg").write_bytes(data)
    write_image(images / "other.png", brightness=40)
    return root


@pytest.fixture
def settings(plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LINEWISE_JPEG_DECODER", "nvjpeg")
    monkeypatch.setenv("LINEWISE_DATABASE_URL", f"sqlite:///{tmp_path / 'results.sqlite'}")
    return load_settings(plant / "home")


def test_a_line_is_scored_with_it(plant: Path, settings, on_cpu: None, caplog: pytest.LogCaptureFixture) -> None:
    result = score.run(
        ScoreRequest(line="mvtec/pill", images=str(plant / "images"), device=DeviceName.CPU, workers=2), settings
    )
    assert (result.summary.scored, result.summary.unreadable) == (3, 1)
    assert result.summary.unreadable_files[0].reason.startswith("expected a complete JPEG, got one that ends early")
    assert [text.partition(":")[0] for text in told(caplog)] == ["libjpeg decodes an image, and all others like it"]


def test_a_plant_is_scored_with_it(plant: Path, settings, on_cpu: None, caplog: pytest.LogCaptureFixture) -> None:
    request = ScorePlantRequest(images=plant / "images", device=DeviceName.CPU, workers=2)
    figures = score_plant.run(request, settings).figures()
    assert (figures["images"], figures["unreadable"]) == (4, 1)
    assert [text.partition(":")[0] for text in told(caplog)] == ["libjpeg decodes an image, and all others like it"]


@without_gpu
def test_no_job_begins_without_what_the_settings_ask_for(plant: Path, settings) -> None:
    with pytest.raises(DeviceError, match="for nvJPEG"):
        score.run(ScoreRequest(line="mvtec/pill", images=str(plant / "images"), device=DeviceName.CPU), settings)
    with pytest.raises(DeviceError, match="for nvJPEG"):
        score_plant.run(ScorePlantRequest(images=plant / "images", device=DeviceName.CPU), settings)
    with ResultStore(settings.database) as store:
        assert list(store.runs()) == []


def check(settings) -> Check:
    return next(check for check in check_installation(settings) if check.name == "jpeg_decoder")


def test_the_doctor_compares_it_with_libjpeg(settings, on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = check(settings)
    assert found.verdict is Verdict.OK
    assert found.says.startswith("nvJPEG, within 0.")
    assert found.facts["decoder"] == "nvjpeg"
    assert found.facts["images"] == 4
    decode = nvjpeg.decode_jpeg
    monkeypatch.setattr(nvjpeg, "decode_jpeg", lambda *arguments: torch.zeros_like(decode(*arguments)))
    black = check(settings)
    assert black.verdict is Verdict.PROBLEM
    assert "expected pixels within 1.5 grey levels of libjpeg's on average" in black.says


def test_the_doctor_says_of_libjpeg_whether_nvjpeg_may_work(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    by_default = settings.model_copy(update={"jpeg_decoder": JpegDecoder.LIBJPEG})
    for there, says in ((True, "may work:"), (False, "would need torchvision and a GPU")):
        monkeypatch.setattr(installation_checks, "loads", lambda _library, there=there: there)
        found = check(by_default)
        assert (found.verdict, found.facts) == (Verdict.OK, {"decoder": "libjpeg"})
        assert found.says.startswith(f"libjpeg; nvJPEG {says}")


# --- where there is a GPU --------------------------------------------------------------------------------------------


@pytest.fixture
def on_gpu() -> tuple[Opener, Agreement]:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
    return open_nvjpeg()


@pytest.mark.gpu
def test_a_gpu_decodes_close_to_libjpeg(on_gpu: tuple[Opener, Agreement], caplog: pytest.LogCaptureFixture) -> None:
    opener, agreement = on_gpu
    assert agreement.mean < MOST_MEAN
    for data in (WHOLE, jpeg(GREY), jpeg_with_exif(WHOLE, exif_block(6)), jpeg(picture(481, 333))):
        got, expected = (fit_image(opened(data, DEFAULT_LIMITS), SPEC) for opened in (opener, open_image))
        assert np.abs(got.astype(int) - expected).mean() < MOST_MEAN
    assert told(caplog) == [], "all of them by nvJPEG"


@pytest.mark.gpu
def test_a_gpu_decodes_the_same_for_threads(on_gpu: tuple[Opener, Agreement]) -> None:
    spec = PreprocessSpec(height=64, width=64)
    files = [jpeg(picture(400 + 16 * index, 640, seed=index)) for index in range(8)]

    def fitted(data: bytes) -> np.ndarray:
        return fit_image(on_gpu[0](data, DEFAULT_LIMITS), spec)

    alone = [fitted(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for got, expected in zip(pool.map(fitted, files * 10), alone * 10, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.gpu
def test_a_gpu_refuses_what_libjpeg_refuses(on_gpu: tuple[Opener, Agreement], save) -> None:
    for data in (WHOLE[:-2], WHOLE[: len(WHOLE) // 2], without_quantisation(WHOLE)):
        path = save(data, "damaged.jpg")
        assert read_image(path, SPEC, opener=on_gpu[0]) == read_image(path, SPEC)


@pytest.mark.gpu
def test_a_gpu_without_memory(on_gpu: tuple[Opener, Agreement], caplog: pytest.LogCaptureFixture) -> None:
    data = jpeg(picture(4000, 6000))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        pixels = fit_image(on_gpu[0](data, DEFAULT_LIMITS), SPEC)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_array_equal(pixels, fit_image(open_image(data), SPEC))
    assert len(told(caplog)) == 1
