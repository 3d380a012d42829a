"""nvJPEG where there is a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from deploy.decoding.agreement import MOST_MEAN, Agreement
from deploy.decoding.choice import open_nvjpeg
from pipeline.imaging.images import (
    Opener,
    PreprocessSpec,
    fit_image,
    image_limits,
    open_image,
    read_image,
)
from tests.deploy.decoding.nvjpeg_parts import (
    WHOLE,
    told,
    without_quantisation,
)
from tests.parts.image_files import GREY, SPEC, exif_block, jpeg, jpeg_with_exif, picture

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")


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
        got, expected = (fit_image(opened(data, image_limits()), SPEC) for opened in (opener, open_image))
        assert np.abs(got.astype(int) - expected).mean() < MOST_MEAN
    assert told(caplog) == [], "all of them by nvJPEG"


@pytest.mark.gpu
def test_a_gpu_decodes_the_same_for_threads(on_gpu: tuple[Opener, Agreement]) -> None:
    spec = PreprocessSpec(height=64, width=64)
    files = [jpeg(picture(400 + 16 * index, 640, seed=index)) for index in range(8)]

    def fitted(data: bytes) -> np.ndarray:
        return fit_image(on_gpu[0](data, image_limits()), spec)

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
        pixels = fit_image(on_gpu[0](data, image_limits()), SPEC)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_array_equal(pixels, fit_image(open_image(data), SPEC))
    assert len(told(caplog)) == 1
