"""A version knows every part that it learned from, of however few it keeps pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import CARD, LEARNED, BundleDraft
from deploy.bundles.registry import Registry
from flows.adapt import job as adapt_job
from flows.adapt.request import AdaptRequest
from flows.calibrate import job
from flows.calibrate.request import CalibrateRequest
from pipeline.settings import Settings, load_settings
from pipeline.storage import sha256_file
from tests.parts.line_on_disk import picture, save

GOOD, SIDE, NEW, AGAIN = 300, 64, 30, 5
LINE = "many parts"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of 300 good parts, no two alike."""
    folder = tmp_path_factory.mktemp("parts")
    for part in range(GOOD):
        save(folder / "good" / f"{part:03}.png", picture(part, SIDE, SIDE))
    return folder


@pytest.fixture(scope="module")
def adapted(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Bundle]:
    settings = load_settings(tmp_path_factory.mktemp("adapted") / "home")
    result = adapt_job.run(AdaptRequest(line=LINE, images=parts, size=SIDE), settings)
    assert result.good == GOOD
    return settings, result.bundle


@pytest.fixture(scope="module")
def without_pictures(parts: Path, adapted: tuple[Settings, Bundle]) -> list[Path]:
    """The learned images of which the bundle holds no picture."""
    _, bundle = adapted
    files = {sha256_file(path): path for path in sorted((parts / "good").iterdir())}
    learned = bundle.manifest.support.good
    assert set(learned) == set(files)
    return [files[learned[number]] for number in sorted(set(range(GOOD)) - set(bundle.support_pictures))]


@pytest.fixture
def production(without_pictures: list[Path], tmp_path: Path) -> Path:
    """New parts, and of those without a picture some files and some other images, in other light and noise."""
    folder, rng = tmp_path / "production", np.random.default_rng(0)
    for part in range(NEW):
        save(folder / f"new_{part:02}.png", picture(1000 + part, SIDE, SIDE))
    for path in without_pictures[:AGAIN]:
        shutil.copy(path, folder / f"copy_{path.name}")
    for path in without_pictures[-AGAIN:]:
        part = picture(int(path.stem), SIDE, SIDE) * 0.95 + 4 + rng.normal(0, 2, (SIDE, SIDE, 3))
        save(folder / f"again_{path.name}", part.clip(0, 255).astype(np.uint8))
    return folder


def calibrate(settings: Settings, images: Path, version: str) -> job.CalibrateResult:
    request = CalibrateRequest.asked(
        line=LINE, images=images, version=version, unlabelled=True, promote=False, device="cpu"
    )
    return job.run(request, settings)


def test_parts_that_it_keeps_no_picture_of_set_no_threshold(
    adapted: tuple[Settings, Bundle], without_pictures: list[Path], production: Path
) -> None:
    settings, bundle = adapted
    assert len(without_pictures) >= 2 * AGAIN
    result = calibrate(settings, production, bundle.manifest.version)
    again = result.bundle.manifest.calibration
    assert again is not None
    assert set(again.unlabelled) == {sha256_file(path) for path in production.glob("new_*")}
    assert again.left_out == {"known from adaptation": AGAIN, "showing a part again": AGAIN}
    (told,) = (remark for remark in result.remarks if remark.startswith("Left out as showing a part again"))
    assert told.endswith(f", and {AGAIN - 1} more.")
    assert not any("older Linewise" in remark for remark in result.remarks)
    assert result.bundle.manifest.files[LEARNED] == bundle.manifest.files[LEARNED], "its own versions know them, too"


def test_a_version_of_before_says_of_how_many_it_knows_no_part(
    adapted: tuple[Settings, Bundle], production: Path
) -> None:
    settings, bundle = adapted
    registry, manifest = Registry(settings.home), bundle.manifest
    kept = manifest.model_dump(exclude={"files", "format_version"}) | {"version": registry.new_version(LINE)}
    files = {name: bundle.path / name for name in manifest.files if name not in (CARD, LEARNED)}
    older = registry.add_next(BundleDraft.model_validate(kept), files)
    result = calibrate(settings, production, older.manifest.version)
    again = result.bundle.manifest.calibration
    assert again is not None
    assert again.left_out == {"known from adaptation": AGAIN}, "the parts of the others are not known"
    pictures = len(bundle.support_pictures)
    assert any(
        f"pictures of {pictures} of the {GOOD} good images" in remark and "Adapt the line again" in remark
        for remark in result.remarks
    )
