"""A line whose images are seen as tiles, all the way: adapted, exported, scored as a whole image would be."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.engine.devices import resolve_device
from deploy.engine.runtime import ScoringEngine
from deploy.rest.image_service import ImageService
from deploy.results.store import ResultStore
from deploy.review.nearest_patches import NearestPatches
from deploy.scoring.image_result import FileStatus
from flows import held_images
from flows.adapt import job as adapt
from flows.adapt.line_images import LineImages
from flows.adapt.line_tiles import line_tiles
from flows.adapt.request import AdaptRequest
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.open_backbone import OpenBackbone, open_backbone
from flows.score import job as score
from flows.taken_up import take_up_into
from flows.views import AdaptedLine, view_of
from linewise import Line
from model_zoo.learner_table import make_learner
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import read_size, require_image
from pipeline.kinds import NONE_OF_THESE
from pipeline.product_lines.lines import load_line
from pipeline.regions import MarkedMap
from pipeline.settings import Device, Settings, load_settings
from pipeline.tile_grid import TileGrid
from tests.deploy.scoring_plant import score_folder
from tests.flows.adapted_home import score_request

SIDE = 96


def request(line: Path, **changes: Any) -> AdaptRequest:
    """Two rows and two columns of tiles of 64 px that overlap by 32: the images' own size."""
    asked = {"good": 3, "defects": 2, "size": 64, "tiles": "2x2", "target_false_reject_rate": 0.2}
    return AdaptRequest.asked(line="tray", images=line, **{**asked, **changes})


@pytest.fixture(scope="module")
def tray(line: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a home with the line."""
    settings = load_settings(tmp_path_factory.mktemp("home"))
    adapt.run(request(line), settings)
    return settings


def test_tiles_are_learned_from_exported_and_scored_as_one_image(line: Path, tray: Settings, tmp_path: Path) -> None:
    settings, bundle = tray, Registry(tray.home).live("tray")
    manifest = bundle.manifest
    tiles = TileGrid(rows=2, columns=2, side=64, overlap=32)
    assert manifest.tiles == tiles
    assert (manifest.spec.size, manifest.preprocess.height, manifest.preprocess.width) == ((64, 64), SIDE, SIDE)
    assert "2 × 2 of 64 px that overlap by 32 px" in bundle.card_path.read_text()
    assert (len(manifest.support.good), len(manifest.support.defects)) == (3, 2)

    sources = bundle.bank_sources()
    assert sources is not None
    assert set(sources[:, 0]) <= {0, 1, 2}
    assert sources[:, 2:].max() == 5  # of the whole image's 6 x 6 cells
    assert read_size(bundle.support_paths[0]) == (SIDE, SIDE)

    good = cv2.imread(str(next((line / "test" / "good").iterdir())))
    assert good is not None
    deployment = Registry(settings.home).deployment("tray")
    engine = ScoringEngine(deployment.backbone, Device.CPU)
    engine.add_head("tray", bundle.head_path, bundle.head_sha256, tiles=tiles)
    for name, x, y in (("left.png", 14, 14), ("right.png", 82, 48)):
        marked = good.copy()
        marked[y - 5 : y + 5, x - 5 : x + 5] = (0, 0, 255)
        assert cv2.imwrite(str(tmp_path / name), marked)
        pixels = require_image(tmp_path / name, manifest.preprocess).pixels
        (scored,) = engine.score("tray", pixels[None])
        assert scored.anomaly_map.shape == (12, 12)
        assert scored.nearest.shape == (6, 6)
        assert scored.score > manifest.threshold.reject
        largest, *_ = MarkedMap(scored.anomaly_map, manifest.threshold.pixel).regions((SIDE, SIDE))
        left, top, width, height = largest.box
        assert (left + width / 2, top + height / 2) == pytest.approx((x, y), abs=8)
        with Line.open("tray", device="cpu", home=settings.home) as opened:
            result = opened.score(tmp_path / name)
            assert result.score == scored.score
            assert manifest.kinds is not None
            assert result.kind in (*manifest.kinds.names, NONE_OF_THESE)
            assert [each.score for each in opened.score_batch([tmp_path / name] * 2)] == [scored.score] * 2
        with closing(ImageService(Registry(settings.home), resolve_device(Device.CPU), workers=1)) as service:
            posted, _ = service.score("tray", (tmp_path / name).read_bytes(), name)
            assert posted.result.score == scored.score

    asked = next_adaptation(TendRequest(folder=line.parent), bundle, load_line(line), production=False)
    assert (asked.size, asked.tiles) == (64, "2x2")
    assert score.run(score_request(line, line="tray"), settings).report.is_file()
    with ResultStore(settings.database) as store:
        rows = list(store.stream(line="tray"))
    assert len(rows) == 10
    for row in rows:
        (scored,) = engine.score("tray", require_image(Path(row.image_path), manifest.preprocess).pixels[None])
        assert row.score == pytest.approx(scored.score)
    assert NearestPatches(Registry(settings.home)).picture(rows[0]) is not None


def test_an_accelerator_takes_a_few_tiles_at_a_time_and_says_the_same(
    line: Path, tray: Settings, tmp_path: Path
) -> None:
    deployment = Registry(tray.home).deployment("tray")
    bundle = deployment.bundle
    pixels = require_image(load_line(line).defects[0].path, bundle.manifest.preprocess).pixels
    said = []
    for batch in (None, 3):
        engine = ScoringEngine(deployment.backbone, resolve_device(Device.CPU), batch=batch)
        engine.add_head("tray", bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
        said.append(engine.score("tray", np.stack([pixels, pixels[::-1]])).outputs())
    np.testing.assert_allclose(said[0].image_score, said[1].image_score, rtol=1e-4)
    np.testing.assert_allclose(said[0].anomaly_map, said[1].anomaly_map, atol=1e-4)
    with pytest.raises(ValueError, match="expected an image of"):
        engine.score("tray", pixels[None, :64, :64])
    with ResultStore(tmp_path / "results.sqlite") as store:  # decoders and batches, as an accelerator has them
        summary = score_folder(bundle, engine, line / "test", store, batch_size=3, workers=2)
    assert summary.tally.files == {FileStatus.SCORED: 10}


def test_unlabelled_images_are_taken_up_as_tiles(line: Path, home: Path) -> None:
    backbone, seen = open_backbone(DEFAULT_BACKBONE, 64, load_settings()), load_line(line)
    view = view_of(backbone, seen.train_good[:3], (), tiles=(2, 2), seed=0)
    learner = make_learner("memory_bank", backbone.spec, seed=0)
    adapted = AdaptedLine(view, learner, learner.adapt(view.support, seed=0), ())
    better, report = take_up_into(adapted, seen.test_good, seed=0)
    assert better.view.support.tiles == 4
    assert better.view.support.k == 3 + len(report.taken) > 3


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> OpenBackbone:
    """Of tiles of 64 px."""
    return open_backbone(DEFAULT_BACKBONE, 64, load_settings(tmp_path_factory.mktemp("home")))


def images_of(line: Path) -> LineImages:
    found = load_line(line)
    return LineImages(good=found.train_good, defects=found.defects, white_level=None, left_out={}, remarks=())


def tiles_of(
    asked: AdaptRequest, seen: OpenBackbone, images: LineImages, **given: Any
) -> tuple[TileGrid | None, LineImages]:
    given = {"learner": "auto", "region": None, **given}
    learner = make_learner(given["learner"], seen.spec, seed=0)
    return line_tiles(asked, learner, seen, given["region"], images)


@pytest.mark.parametrize(
    ("tiles", "most_ms", "expected"),
    [("auto", None, (2, 2)), ("auto", 1e-6, None), ("3x2", 1e-6, (3, 2)), (None, None, None)],
)
def test_auto_takes_as_many_as_the_images_have_pixels_for_and_time_allows(
    line: Path, seen: OpenBackbone, tiles: str | None, most_ms: float | None, expected: tuple[int, int] | None
) -> None:
    grid, images = tiles_of(request(line, tiles=tiles, most_ms=most_ms), seen, images_of(line))
    assert (grid and (grid.rows, grid.columns)) == expected
    said = {"auto": 1}.get(str(tiles), 0)
    assert len(images.remarks) == said


def test_what_is_held_of_many_tiles_is_bounded(line: Path, seen: OpenBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    of_an_image = held_images.feature_bytes(seen.spec, 4)
    monkeypatch.setattr(held_images, "LEAST_HELD_OF_TILES", 2)
    monkeypatch.setattr(held_images, "TILES_BYTES", 4 * of_an_image)  # two good images and two defective ones
    _, images = tiles_of(request(line), seen, images_of(line))
    assert len(images.defects) == 4
    assert images.remarks == ("4 of 6 defective images are used: of so many tiles, no more are held.",)
    with pytest.raises(ConfigError, match=r"at most 4 tiles of 64 px .* got 6 in --tiles 2x3"):
        tiles_of(request(line, tiles="2x3"), seen, images_of(line))


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"oblong": True}, {}, "--oblong"),
        ({"align": "rigid"}, {}, "--align"),
        ({"any_angle": True}, {}, "--any-angle"),
        ({}, {"learner": "prototypical"}, "the learner prototypical"),
    ],
)
def test_what_is_not_combined_with_tiles_is_refused(
    line: Path, seen: OpenBackbone, changes: dict[str, Any], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        tiles_of(request(line, **changes), seen, images_of(line), **given)
    images = images_of(line)
    with pytest.raises(ConfigError, match="a single good image"):
        tiles_of(request(line), seen, replace(images, good=images.good[:1]))


@pytest.mark.parametrize("tiles", ["1x1", "0x2", "99x99", "2", "2x", "many"])
def test_what_is_no_grid_of_tiles_is_refused(line: Path, tiles: str) -> None:
    with pytest.raises(ConfigError, match="tiles"):
        request(line, tiles=tiles)


@pytest.mark.parametrize("asked", ["3", "0x2", "1x1", "99x99", "2x2x2", "2 x 2"])
def test_tiles_that_cannot_be_are_told_in_words(asked: str) -> None:
    with pytest.raises(ConfigError) as told:
        AdaptRequest.asked(line="tray", images=Path("tray"), tiles=asked)
    assert str(told.value) == (
        "expected tiles to be 'auto', or rows and columns such as 2x3, of 2 to 576 tiles in all, "
        f"got '{asked}': change tiles"
    )
