"""Painted defects: exact masks, any image, nothing but the generator decides."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from pipeline.synthetic.defects import (
    DEFECT_KINDS,
    border_of,
    estimate_foreground,
    paint_defect,
)
from pipeline.synthetic.jitter import photometric_jitter


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def surface(height: int, width: int, *, grey: bool = False, seed: int = 0) -> np.ndarray:
    """A structured image: gradient, stripes and noise."""
    rng = rng_of(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = 110 + 40 * np.sin(x / 5.0) + 20 * np.cos(y / 9.0) + 20 * x / width
    image = base[..., None] * np.array([1.0, 0.8, 0.6]) + rng.normal(0, 4, (height, width, 3))
    if grey:
        image = np.repeat(image[..., :1], 3, axis=2)
    return image.clip(0, 255).astype(np.uint8)


def part_on_ground(side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((side, side, 3), 40, np.uint8)
    disc = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), side // 4, 1, -1).astype(bool)
    image[disc] = surface(side, side)[disc]
    return image, disc


def assert_exact(image: np.ndarray, painted: np.ndarray, mask: np.ndarray) -> None:
    """Nothing differs outside the mask and its border; most of the mask differs visibly."""
    assert painted.dtype == np.uint8
    assert painted.shape == image.shape
    assert mask.dtype == np.bool_
    assert mask.shape == image.shape[:2]
    difference = np.abs(painted.astype(int) - image).max(2)
    border = border_of(image.shape)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * border + 1,) * 2, np.uint8)).astype(bool)
    assert not difference[~near].any()
    assert (difference[mask] >= 5).mean() > 0.6
    assert difference[mask].mean() >= 8
    assert difference[~mask].mean() < difference[mask].mean() / 4
    assert max(3, 0.0003 * mask.size) <= mask.sum() <= 0.2 * mask.size


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_every_kind_paints_with_an_exact_mask(kind: str) -> None:
    image = surface(256, 256)
    before = image.copy()
    names = []
    for seed in range(6):
        painted, mask, name = paint_defect(image, rng_of(seed), kind=kind)
        assert_exact(image, painted, mask)
        names.append(name)
    assert np.array_equal(image, before), "the input was changed"
    assert names.count(kind) >= 5  # a kind gives way to a stain only where it cannot show


@pytest.mark.parametrize("shape", [(32, 32), (32, 200), (61, 47), (600, 700)])
@pytest.mark.parametrize("grey", [False, True])
def test_any_size_and_grey_images(shape: tuple[int, int], grey: bool) -> None:
    image = surface(*shape, grey=grey)
    for seed in range(10):
        painted, mask, _ = paint_defect(image, rng_of(seed))
        assert_exact(image, painted, mask)
        if grey:
            assert (painted == painted[..., :1]).all(), "a grey camera shows no colours"


def test_deterministic_for_a_seed_and_any_number_of_threads() -> None:
    image = surface(200, 240)
    donor = surface(90, 70, seed=3)
    draws = [paint_defect(image, rng_of(seed), donor=donor) for seed in range(20)]
    np.random.seed(123)  # the global generator must not matter
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        again = [paint_defect(image, rng_of(seed), donor=donor) for seed in range(20)]
    finally:
        cv2.setNumThreads(threads)
    for first, second in zip(draws, again, strict=True):
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.mask, second.mask)
        assert first.kind == second.kind
    assert len({draw.kind for draw in draws}) > 6
    assert len({draw.image.tobytes() for draw in draws}) == 20


def test_sizes_span_two_orders_of_magnitude() -> None:
    image = surface(256, 256)
    areas = [paint_defect(image, rng_of(seed)).mask.mean() for seed in range(120)]
    assert min(areas) < 0.002
    assert max(areas) > 0.05
    assert 0.003 < np.median(areas) < 0.03


def test_defects_range_from_faint_to_glaring() -> None:
    image = surface(256, 256)
    contrasts = []
    for seed in range(80):
        painted, mask, _ = paint_defect(image, rng_of(seed))
        contrasts.append(np.abs(painted.astype(int) - image).max(2)[mask].mean())
    faint, glaring = np.quantile(contrasts, [0.1, 0.9])
    assert faint < 25
    assert glaring > 55


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("kind", ["blur", "warp", "erase", "cut_paste", "dent", None])
def test_flat_images_get_a_visible_defect_all_the_same(level: int, kind: str | None) -> None:
    image = np.full((64, 64, 3), level, np.uint8)
    for seed in range(3):
        painted, mask, name = paint_defect(image, rng_of(seed), kind=kind)
        assert_exact(image, painted, mask)
        if kind in ("blur", "warp"):
            assert name == "stain"


def test_a_given_foreground_holds_the_defect() -> None:
    image, disc = part_on_ground()
    reach = cv2.dilate(disc.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    for seed in range(30):
        _, mask, kind = paint_defect(image, rng_of(seed), foreground=disc)
        assert (mask & disc).any()
        if kind != "contamination":
            assert not (mask & ~reach).any(), kind


def test_an_empty_foreground_means_everywhere() -> None:
    image = surface(64, 64)
    painted, mask, _ = paint_defect(image, rng_of(0), foreground=np.zeros((64, 64), np.bool_))
    assert_exact(image, painted, mask)


def test_estimated_foreground_finds_a_part_and_takes_a_surface_whole() -> None:
    image, disc = part_on_ground()
    found = estimate_foreground(image)
    assert (found & disc).sum() / (found | disc).sum() > 0.85
    assert estimate_foreground(surface(100, 140)).all()
    assert estimate_foreground(np.full((50, 60, 3), 90, np.uint8)).all()


def test_a_donor_gives_material() -> None:
    image = np.full((128, 128, 3), (70, 60, 50), np.uint8)
    donor = np.zeros((40, 50, 3), np.uint8)
    donor[..., 0] = 255
    shows = [paint_defect(image, rng_of(seed), kind="cut_paste", donor=donor) for seed in range(12)]
    assert any(draw.image[draw.mask][:, 0].mean() > draw.image[draw.mask][:, 1].mean() + 60 for draw in shows)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.zeros((64, 64), np.uint8), {}),
        (np.zeros((64, 64, 4), np.uint8), {}),
        (np.zeros((64, 64, 3), np.float32), {}),
        (np.zeros((31, 64, 3), np.uint8), {}),
        (np.zeros((64, 64, 3), np.uint8), {"kind": "nonsense"}),
        (np.zeros((64, 64, 3), np.uint8), {"foreground": np.ones((64, 64), np.uint8)}),
        (np.zeros((64, 64, 3), np.uint8), {"foreground": np.ones((64, 63), np.bool_)}),
        (np.zeros((64, 64, 3), np.uint8), {"donor": np.ones((64, 64), np.uint8)}),
        (np.zeros((64, 64, 3), np.uint8), {"donor": np.ones((0, 64, 3), np.uint8)}),
    ],
)
def test_bad_arguments_are_refused(image: np.ndarray, options: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        paint_defect(image, rng_of(0), **options)


def test_photometric_jitter_changes_light_not_layout() -> None:
    pytest.importorskip("albumentations")
    image = surface(96, 96)
    jittered = [photometric_jitter(image, rng_of(seed)) for seed in range(12)]
    for one, seed in zip(jittered, range(12), strict=True):
        assert one.dtype == np.uint8
        assert one.shape == image.shape
        assert np.array_equal(one, photometric_jitter(image, rng_of(seed)))
        assert np.corrcoef(one.ravel(), image.ravel())[0, 1] > 0.9
    assert len({one.tobytes() for one in jittered}) > 8
    with pytest.raises(ValueError, match="uint8"):
        photometric_jitter(image.astype(np.float32), rng_of(0))  # pyright: ignore[reportArgumentType]


def test_importing_the_generator_brings_no_torch_and_no_albumentations() -> None:
    code = "import sys, pipeline.synthetic.lines; print([m for m in ('torch', 'albumentations') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
