"""nvJPEG as a setting asks for it: when it is refused, and what the jobs and the doctor do with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.decoding import agreement as agreements
from deploy.decoding import choice, nvjpeg
from deploy.decoding.agreement import MOST, MOST_MEAN, Agreement, compare_with_libjpeg
from deploy.decoding.choice import image_opener, open_nvjpeg
from deploy.results.store import ResultStore
from flows.doctor import checks as installation_checks
from flows.doctor.checks import Verdict
from flows.score import job as score
from flows.score import plant_job as score_plant
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.errors import ConfigError, DeviceError, ParityError
from pipeline.imaging.encoded import EncodedImage
from pipeline.imaging.images import (
    ImageLimits,
    Opener,
    image_limits,
    open_image,
)
from pipeline.settings import Device, JpegDecoder, load_settings
from tests.deploy.decoding.nvjpeg_parts import (
    WHOLE,
    failing,
    progressive,
    told,
)
from tests.parts.checks import found
from tests.parts.gpu import without_gpu
from tests.parts.image_files import picture
from tests.parts.plant import write_image, write_plant

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")


@pytest.fixture(scope="module")
def samples() -> list[bytes]:
    return agreements.generated_jpegs()


@pytest.fixture
def on_cpu(samples: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """nvJPEG, wherever it is opened without a word about the device, is torchvision on the CPU."""
    monkeypatch.setattr(agreements, "generated_jpegs", lambda: samples)
    for module in (choice, installation_checks):
        monkeypatch.setattr(module, "open_nvjpeg", partial(open_nvjpeg, "cpu"))


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
    assert opener(WHOLE, image_limits()).decode(64, 96).shape == (120, 160, 3)


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


# --- the jobs and the doctor


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
        ScoreRequest(line="mvtec/pill", images=str(plant / "images"), device=Device.CPU, workers=2), settings
    )
    assert (result.summary.counts.scored, result.summary.counts.unreadable) == (3, 1)
    assert result.summary.unreadable_files[0].reason.startswith("expected a complete JPEG, got one that ends early")
    assert [text.partition(":")[0] for text in told(caplog)] == ["libjpeg decodes an image, and all others like it"]


def test_a_plant_is_scored_with_it(plant: Path, settings, on_cpu: None, caplog: pytest.LogCaptureFixture) -> None:
    request = ScorePlantRequest(images=plant / "images", device=Device.CPU, workers=2)
    figures = score_plant.run(request, settings).figures()
    assert (figures["images"], figures["unreadable"]) == (4, 1)
    assert [text.partition(":")[0] for text in told(caplog)] == ["libjpeg decodes an image, and all others like it"]


@without_gpu
def test_no_job_begins_without_what_the_settings_ask_for(plant: Path, settings) -> None:
    with pytest.raises(DeviceError, match="for nvJPEG"):
        score.run(ScoreRequest(line="mvtec/pill", images=str(plant / "images"), device=Device.CPU), settings)
    with pytest.raises(DeviceError, match="for nvJPEG"):
        score_plant.run(ScorePlantRequest(images=plant / "images", device=Device.CPU), settings)
    with ResultStore(settings.database) as store:
        assert list(store.runs()) == []


def test_the_doctor_compares_it_with_libjpeg(settings, on_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = found("jpeg_decoder", settings)
    assert compared.verdict is Verdict.OK
    assert compared.says.startswith("nvJPEG, within 0.")
    assert compared.facts["decoder"] == "nvjpeg"
    assert compared.facts["images"] == 4
    decode = nvjpeg.decode_jpeg
    monkeypatch.setattr(nvjpeg, "decode_jpeg", lambda *arguments: torch.zeros_like(decode(*arguments)))
    black = found("jpeg_decoder", settings)
    assert black.verdict is Verdict.PROBLEM
    assert "expected pixels within 1.5 grey levels of libjpeg's on average" in black.says


def test_the_doctor_says_of_libjpeg_whether_nvjpeg_may_work(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    by_default = settings.model_copy(update={"jpeg_decoder": JpegDecoder.LIBJPEG})
    for there, says in ((True, "may work:"), (False, "would need torchvision and a GPU")):
        monkeypatch.setattr(installation_checks, "loads", lambda _library, there=there: there)
        check = found("jpeg_decoder", by_default)
        assert (check.verdict, check.facts) == (Verdict.OK, {"decoder": "libjpeg"})
        assert check.says.startswith(f"libjpeg; nvJPEG {says}")
