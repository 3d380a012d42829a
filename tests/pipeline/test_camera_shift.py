"""Camera shifts: deterministic, of the stated size, with complete cache keys, and masks that stay on their defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.evaluate.request import ShiftName
from pipeline.camera_shift import SHIFTS, CameraShift
from pipeline.errors import ConfigError
from pipeline.features import Levels
from pipeline.imaging.images import PreprocessSpec, require_image
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.storage import sha256_file
from pipeline.support import Item, SupportConfig, build_query, build_support, read_defect_mask
from pipeline.synthetic.lines import write_line

SHA, OTHER = "0f" * 32, "1f" * 32
PREPROCESS = PreprocessSpec(height=96, width=96)


def picture(seed: int = 0) -> np.ndarray:
    """A colourful image without flat or saturated areas."""
    y, x = np.mgrid[0:96, 0:128]
    waves = [110 + 60 * np.sin(x / (7 + c + seed)) * np.cos(y / (9 - c)) for c in range(3)]
    texture = np.random.default_rng(seed).uniform(-30, 30, (96, 128, 1))
    return (np.stack(waves, 2) + texture).astype(np.uint8)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> ProductLine:
    return load_line(write_line(tmp_path_factory.mktemp("lines"), 3, good=3, test_good=2, defects=6, size=96))


def test_the_request_offers_exactly_these_shifts():
    assert [name.value for name in ShiftName] == list(SHIFTS)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_a_fixed_function_of_an_image(name: str):
    image = picture()
    before = image.copy()
    shifted = CameraShift(name).apply(image, SHA)
    assert (shifted.shape, shifted.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert np.array_equal(shifted, CameraShift(name).apply(image, SHA))
    weak, strong = (
        np.abs(CameraShift(name, strength).apply(image, SHA).astype(int) - image).mean() for strength in (0.8, 1.6)
    )
    assert 0 < weak < strong


@pytest.mark.parametrize("name", SHIFTS)
def test_the_camera_changes_once_and_only_noise_differs_from_image_to_image(name: str):
    image = picture()
    of_one, of_other = (CameraShift(name).apply(image, sha) for sha in (SHA, OTHER))
    assert np.array_equal(of_one, of_other) == (name != "noise")
    changes = {CameraShift(name, seed=seed).apply(image, SHA).tobytes() for seed in range(16)}
    assert len(changes) == {"light": 4, "camera": 2, "blur": 1}.get(name, 16)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_grey_image_stays_grey(name: str):
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    shifted = CameraShift(name).apply(grey, SHA)
    assert (shifted == shifted[..., :1]).all()


def test_strengths_are_those_that_are_stated():
    flat = np.full((256, 256, 3), (100, 120, 140), np.uint8)
    noise = CameraShift("noise").apply(flat, SHA).astype(float) - flat
    assert noise.std() == pytest.approx(8, rel=0.02)
    gains = {round(float(CameraShift("light", seed=seed).apply(flat, SHA)[0, 0, 1]) / 120, 2) for seed in range(8)}
    assert gains == {0.74, 1.35}
    edge = np.zeros((256, 256, 3), np.uint8)
    edge[:, 128:] = 200
    slope = np.diff(CameraShift("blur").apply(edge, SHA)[128, :, 0].astype(float))
    centre = (slope * np.arange(255)).sum() / slope.sum()
    width = np.sqrt((slope * (np.arange(255) - centre) ** 2).sum() / slope.sum())
    assert width == pytest.approx(1.2, abs=0.1)
    dark = CameraShift("camera").apply(flat, SHA).astype(float)
    assert dark[0, 0, 1] / dark[128, 128, 1] == pytest.approx(0.65, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [1, 3])
def test_masks_follow_magnification_whatever_their_size(seed: int, factor: int):
    size = 128
    image = np.full((size, size, 3), 40, np.uint8)
    image[50:74, 60:90] = 220
    mask = np.zeros((size * factor, size * factor), np.bool_)
    mask[50 * factor : 74 * factor, 60 * factor : 90 * factor] = True
    shift = CameraShift("magnification", seed=seed)
    shown = shift.apply(image, SHA)[..., 0] > 130
    moved = shift.apply_mask(mask)
    assert moved.sum() / mask.sum() == pytest.approx(1.12**2, rel=0.06)
    at_size = moved[factor // 2 :: factor, factor // 2 :: factor]
    assert (at_size & shown).sum() / (at_size | shown).sum() > 0.93
    assert not np.array_equal(moved, mask)


def test_other_shifts_leave_masks_alone():
    mask = np.eye(9, dtype=np.bool_)
    assert all(CameraShift(name).apply_mask(mask) is mask for name in SHIFTS if name != "magnification")


@pytest.mark.parametrize(("name", "strength"), [("dusk", 1.0), ("light", 0.0), ("light", 2.5)])
def test_what_is_no_shift_is_one_sentence(name: str, strength: float):
    with pytest.raises(ConfigError):
        CameraShift(name, strength)


class Recording:
    """A feature source that keeps what it was asked for; its features are the images' first pixels."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.pixels: list[np.ndarray] = []

    def features(self, items: list[Item]) -> Levels:  # type: ignore[override]
        self.keys = [key.transform for key, _ in items]
        self.pixels = [loader() for _, loader in items]
        return [np.stack([image[None, :8, :8, 0].astype(np.float32) for image in self.pixels])]


def test_retaken_images_are_shifted_before_they_are_flipped_and_painted_under_keys_of_their_own(line: ProductLine):
    shift = CameraShift("light")
    good, defect = line.train_good[0], line.defects[0]
    plain, retaken = Recording(), Recording()
    config = SupportConfig(synthetic=1)
    build_support([good], [defect], plain, PREPROCESS, config, seed=0)
    build_support([good.under(shift)], [defect.under(shift)], retaken, PREPROCESS, config, seed=0)
    assert retaken.keys == [f"{shift.key} {key}" for key in plain.keys]
    assert plain.keys[:2] == ["plain", "hflip"]
    image = shift.apply(require_image(good.path, PREPROCESS).pixels, sha256_file(good.path))
    assert np.array_equal(retaken.pixels[0], image)
    assert np.array_equal(retaken.pixels[1], image[:, ::-1])
    synthetic = 1 + len(config.augmentations)
    assert plain.keys[synthetic].startswith("synthetic:")
    assert (retaken.pixels[synthetic] == image).all(2).mean() > 0.5, "painted on the retaken image"


def test_every_argument_of_a_shift_is_in_its_key():
    shifts = [CameraShift(name, strength, seed) for name in SHIFTS for strength in (1.0, 1.0001) for seed in (0, 1)]
    assert len({shift.key for shift in shifts}) == len(shifts)


def test_a_query_under_magnification_has_the_moved_masks(line: ProductLine, tmp_path: Path):
    shift = CameraShift("magnification")
    for record in line.defects:
        mask, moved = read_defect_mask(record), read_defect_mask(record.under(shift))
        assert mask is not None
        assert moved is not None
        assert np.array_equal(moved, shift.apply_mask(mask))
    plain = build_query(line.defects, Recording(), PREPROCESS)
    shifted = build_query([record.under(shift) for record in line.defects], Recording(), PREPROCESS)
    assert not np.array_equal(plain.masks.numpy(), shifted.masks.numpy())
    assert shifted.labels.all()
