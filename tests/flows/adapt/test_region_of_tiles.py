"""A region of interest on a line whose images are seen as tiles, all the way: adapted, exported, scored, shown."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from deploy.bundles.bundle import load_bundle
from deploy.bundles.registry import Registry
from deploy.engine.devices import resolve_device
from deploy.engine.joined_tiles import TILES_IN_FLIGHT
from deploy.engine.runtime import ScoringEngine
from deploy.reports.overlay import upsample_map
from deploy.results.store import ResultStore
from flows import held_images
from flows.adapt import job as adapt
from flows.adapt.line_images import LineImages
from flows.adapt.line_tiles import line_tiles
from flows.adapt.request import AdaptRequest
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.open_backbone import OpenBackbone, open_backbone
from flows.score import job
from flows.taken_up import take_up_into
from flows.views import AdaptedLine, view_of
from linewise import Line
from model_zoo.learner_table import make_learner
from model_zoo.learning.region_learner import RegionLearner
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import load_line
from pipeline.region_of_interest import RegionOfInterest
from pipeline.settings import Device, Settings, load_settings
from pipeline.tile_grid import TileGrid
from tests.flows.adapted_home import score_request

LEFT = 40  # of 96 pixels: the middle of the second column of tiles begins at 48
GRID = TileGrid(rows=2, columns=2, side=64, overlap=32, seen=(0, 2))


def request(line: Path, region: Path, **changes: object) -> AdaptRequest:
    asked = {"line": "tray", "images": line, "good": 3, "defects": 2, "size": 64, "tiles": "2x2", "region": region}
    return AdaptRequest.asked(**(asked | {"target_false_reject_rate": 0.2} | changes))


def of_left() -> RegionOfInterest:
    mask = np.zeros((96, 96), np.bool_)
    mask[:, :LEFT] = True
    return RegionOfInterest(mask)


@pytest.fixture(scope="module")
def tray(line: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a home with the line."""
    folder = tmp_path_factory.mktemp("home")
    settings, region = load_settings(folder), folder / "left.png"
    region.write_bytes(of_left().to_png())
    result = adapt.run(request(line, region), settings)
    assert "2 of the 4 tiles show some of the region and are looked at." in result.remarks
    return settings


def test_outside_the_region_nothing_counts_and_tiles_wholly_outside_are_not_looked_at(
    line: Path, tray: Settings, tmp_path: Path
) -> None:
    deployment = Registry(tray.home).deployment("tray")
    bundle = deployment.bundle
    assert bundle.manifest.tiles == GRID
    assert load_bundle(bundle.path).manifest.tiles == GRID
    assert "the 2 that show some of the region are looked at" in bundle.card_path.read_text()
    sources = bundle.bank_sources()
    assert sources is not None
    as_taken = sources[sources[:, 1] == -1]
    assert (as_taken[:, 3] < 3).all(), "of the whole image's 6 x 6 cells"
    assert {int(row) for row in as_taken[:, 2]} > {0, 5}

    pixels = require_image(next((line / "test" / "good").iterdir()), bundle.manifest.preprocess).pixels
    unseen, inside = pixels.copy(), pixels.copy()
    unseen[:, 64:] = 255 - unseen[:, 64:]  # in the second column of tiles alone
    inside[70:86, 12:28] = (255, 0, 0)
    said = []
    for batch in (None, 3, 1):  # as on a CPU; as an accelerator takes a few tiles at a time, one more than there are
        engine = ScoringEngine(deployment.backbone, resolve_device(Device.CPU), batch=batch)
        engine.add_head("tray", bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
        said.append(engine.score("tray", np.stack([pixels, unseen, inside])))
    for scores in said[1:]:
        np.testing.assert_allclose(scores.image_score, said[0].image_score, rtol=1e-4)
        np.testing.assert_allclose(scores.anomaly_map, said[0].anomaly_map, atol=1e-4)
    plain, of_unseen, of_inside = said[0]
    assert of_unseen.score == plain.score
    assert (of_unseen.anomaly_map == plain.anomaly_map).all()
    assert of_inside.score > bundle.manifest.threshold.reject
    row, column = np.unravel_index(of_inside.anomaly_map.argmax(), of_inside.anomaly_map.shape)
    assert 70 - 8 < 8 * row < 86
    assert 12 - 8 < 8 * column < 28
    assert (of_inside.anomaly_map[:, 5:] == of_inside.anomaly_map.min()).all()
    assert of_inside.anomaly_map[:, :5].min() > of_inside.anomaly_map.min()

    assert cv2.imwrite(str(tmp_path / "inside.png"), inside[..., ::-1])
    with Line.open("tray", device="cpu", home=tray.home) as opened:
        result = opened.score(tmp_path / "inside.png")
    assert result.score == pytest.approx(of_inside.score)
    full = result.full_map()
    assert full is not None
    np.testing.assert_array_equal(full, upsample_map(of_inside.anomaly_map, 96, 96, steep=True))
    assert result.regions
    assert all(left + width <= 48 for left, _, width, _ in (region.box for region in result.regions))
    assert job.run(score_request(line, line="tray"), tray).report.is_file()
    asked = next_adaptation(TendRequest(folder=line.parent), bundle, load_line(line), production=False)
    assert (asked.size, asked.tiles) == (64, "2x2")
    assert asked.region is not None


def test_a_small_accelerator_takes_fewer_tiles_at_a_time_and_few_threads_at_once(line: Path, tray: Settings) -> None:
    deployment = Registry(tray.home).deployment("tray")
    bundle = deployment.bundle
    pixels = require_image(next((line / "test" / "good").iterdir()), bundle.manifest.preprocess).pixels

    def engine_of(batch: int | None) -> ScoringEngine:
        engine = ScoringEngine(deployment.backbone, resolve_device(Device.CPU), batch=batch)
        engine.add_head("tray", bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
        return engine

    (expected,) = engine_of(None).score("tray", pixels[None])
    engine, asked, running, most = engine_of(4), list[int](), 0, 0
    lock, run = threading.Lock(), engine.extractor.run

    def limited(images: NDArray[np.uint8]) -> list[ort.OrtValue]:
        nonlocal running, most
        with lock:
            asked.append(len(images))
            running += 1
            most = max(most, running)
        try:
            if len(images) > 1:
                raise RuntimeError("Failed to allocate memory for requested buffer")
            time.sleep(0.05)
            return run(images)
        finally:
            with lock:
                running -= 1

    engine.extractor.run = limited  # type: ignore[method-assign]
    (first,) = engine.score("tray", pixels[None])
    assert asked == [4, 2, 1, 1], "and each tile is told its number still"
    with ThreadPoolExecutor(6) as pool:
        others = list(pool.map(lambda _: engine.score("tray", pixels[None])[0], range(6)))
    for scored in (first, *others):
        assert scored.score == expected.score
        np.testing.assert_array_equal(scored.anomaly_map, expected.anomaly_map)
    assert most == TILES_IN_FLIGHT < 6


def test_a_line_of_tiles_is_scored_in_shards_as_by_one(line: Path, tray: Settings) -> None:
    def rows() -> dict[str | None, float | None]:
        with ResultStore(tray.database) as store:
            return {row.image_sha256: row.score for row in store.query(line="tray", limit=None)}

    file = tray.home / "results.sqlite"
    file.unlink(missing_ok=True)
    job.run(score_request(line, line="tray"), tray)
    whole = rows()
    file.unlink()
    shares = [job.run(score_request(line, line="tray", shard=f"{number}/2"), tray) for number in (1, 2)]
    assert rows() == whole
    assert sum(share.summary.counts.scored for share in shares) == len(whole) == 10


def test_unlabelled_images_are_taken_up_within_the_region_of_tiles(line: Path, home: Path) -> None:
    backbone, seen = open_backbone(DEFAULT_BACKBONE, 64, load_settings()), load_line(line)
    view = view_of(backbone, seen.train_good[:2], (), region=of_left(), tiles=(2, 2), seed=0)
    assert view.tiles == GRID
    assert view.support.augmented[0].shape[1] == 3, "of 4 tiles, flips are views, and show the region elsewhere"
    learner = RegionLearner(make_learner("memory_bank", backbone.spec, seed=0))
    adapted = AdaptedLine(view, learner, learner.adapt(view.support, seed=0), ())
    better, report = take_up_into(adapted, seen.test_good, seed=0)
    assert better.view.support.k == 2 + len(report.taken) > 2
    assert better.head.leave_one_out(better.view.support).image_score.isfinite().all()


def test_of_images_that_are_not_held_in_full_patches_within_the_region_are_sampled(
    line: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_images, "LEAST_HELD_OF_TILES", 2)
    monkeypatch.setattr(held_images, "HELD_BYTES", 0)
    backbone, seen = open_backbone(DEFAULT_BACKBONE, 64, load_settings()), load_line(line)
    view = view_of(backbone, seen.train_good, (), region=of_left(), tiles=(2, 2), seed=0)
    assert view.support.k == 2 < len(view.good)
    assert view.support.further is not None
    for sources, level in zip(view.support.further.sources, backbone.spec.levels, strict=True):
        assert (sources[:, 3] * level.stride < LEFT).all()
        assert int(sources[:, 2].max()) >= level.height, "of the second tile, too"


def test_auto_counts_the_tiles_that_are_looked_at(line: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenBackbone, "milliseconds", lambda _: 10.0)  # measured anew each time, it varies
    backbone, found = open_backbone(DEFAULT_BACKBONE, 64, load_settings()), load_line(line)
    images = LineImages(good=found.train_good, defects=(), white_level=None, left_out={}, remarks=())
    asked = AdaptRequest.asked(line="tray", images=line, size=64, tiles="auto", most_ms=25.0)
    learner = make_learner("auto", backbone.spec, seed=0)
    within, _ = line_tiles(asked, learner, backbone, of_left(), images)
    everywhere, _ = line_tiles(asked, learner, backbone, None, images)
    assert within == GRID
    assert everywhere is None or everywhere.count == 2
