"""Only what a first look leaves in doubt is looked at in full, and every row says which look it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.bundles.manifest import FIRST_LOOK
from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import add_with_threshold, scoring_alike
from deploy.bundles.verdict import AT_FIRST_LOOK
from deploy.engine.devices import resolve_device
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from deploy.scoring.plant import score_plant
from deploy.scoring.sources.folder import FolderSource
from linewise import Line
from pipeline.calibration import Decision
from pipeline.errors import BundleError
from pipeline.imaging.images import require_image
from tests.parts.plant import write_image
from tests.parts.two_looks import LIMIT, LINE, write_two_looks

BRIGHTNESS = (20, 60, 72, 90, 110, 180)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return write_two_looks(tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images" / LINE
    return [write_image(folder / f"{b}.png", brightness=b, seed=b, size=96) for b in BRIGHTNESS]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_the_first_look_settles_passes_and_all_else_is_scored_in_full(
    registry: Registry, images: list[Path], store: ResultStore, batch_size: int
) -> None:
    source = FolderSource(images[0].parents[2])
    score_plant(source, registry, store, resolve_device("cpu"), workers=2, batch_size=batch_size)
    rows = {Path(row.image_path).name: row for row in store.query(limit=None)}
    deployment = registry.deployment(LINE)
    in_full = ScoringEngine(deployment.backbone, "cpu")
    in_full.add_head("line", deployment.bundle.head_path)
    assert len(rows) == len(images)
    for path, brightness in zip(images, BRIGHTNESS, strict=True):
        row, pixels = rows[path.name], require_image(path, deployment.bundle.manifest.preprocess).pixels
        (scored,) = in_full.score("line", pixels[None])
        settled = brightness / 255 < 2 * LIMIT
        assert (row.reason == AT_FIRST_LOOK) is settled
        assert row.decision is deployment.bundle.manifest.threshold.decide(scored.score)
        assert row.score == pytest.approx(scored.score, abs=0.02 if settled else 0)
    assert {row.decision for row in rows.values()} == set(Decision)


def test_a_pack_travels_with_both_backbones(registry: Registry, images: list[Path], tmp_path: Path) -> None:
    pack = registry.pack(LINE, tmp_path / "pack")
    with Line.open(pack, device="cpu") as line:
        one_by_one = [line.score(path) for path in images]
        assert [result.decision for result in line.score_batch(images)] == [r.decision for r in one_by_one]
    assert [result.reason == AT_FIRST_LOOK for result in one_by_one] == [b / 255 < 2 * LIMIT for b in BRIGHTNESS]
    assert one_by_one[0].map is not None
    assert one_by_one[0].map.max() == pytest.approx(BRIGHTNESS[0] / 255, abs=0.02)  # on the second look's scale
    other = Registry(tmp_path / "other")
    other.add_packed(pack)
    assert other.deployment(LINE, "v1").first_backbone is not None
    shutil.rmtree(pack / "first_backbone")
    with pytest.raises(BundleError, match="expected the backbone fedcba9876543210"):
        open_packed(pack)


def test_a_lower_threshold_leaves_the_first_look_out(registry: Registry) -> None:
    live = registry.live(LINE)
    threshold = live.manifest.threshold
    for review, kept in ((0.5, True), (0.35, False)):
        moved = replace(threshold, review=review)
        made = add_with_threshold(registry, live, moved, promise=None, calibration=None)
        assert (made.manifest.first_look is not None) is kept
        assert (FIRST_LOOK in made.manifest.files) is kept
        assert (made.id in scoring_alike(registry, live)) is kept
