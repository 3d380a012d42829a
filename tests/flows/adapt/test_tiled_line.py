"""A line whose images are seen as tiles, all the way: adapted, exported, scored as a whole image would be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.engine.devices import resolve_device
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.score import job as score
from linewise import Line
from pipeline.errors import ConfigError
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import load_line
from pipeline.regions import MarkedMap
from pipeline.settings import Device, load_settings
from pipeline.tile_grid import TileGrid
from tests.flows.adapted_home import score_request

SIDE = 96


def request(line: Path, **changes: object) -> AdaptRequest:
    """Two rows and two columns of tiles of 64 px that overlap by 32: the images' own size."""
    asked = {"good": 3, "defects": 2, "size": 64, "tiles": "2x2", "target_false_reject_rate": 0.2}
    return AdaptRequest.asked(line="tray", images=line, **{**asked, **changes})


def test_tiles_are_learned_from_exported_and_scored_as_one_image(line: Path, home: Path, tmp_path: Path) -> None:
    settings = load_settings()
    result = adapt.run(request(line), settings)
    bundle, manifest = result.bundle, result.bundle.manifest
    tiles = TileGrid(rows=2, columns=2, side=64, overlap=32)
    assert manifest.tiles == tiles
    assert (manifest.spec.size, manifest.preprocess.height, manifest.preprocess.width) == ((64, 64), SIDE, SIDE)
    assert "2 × 2 of 64 px that overlap by 32 px" in bundle.card_path.read_text()
    assert (len(manifest.support.good), len(manifest.support.defects)) == (3, 2)

    sources = bundle.bank_sources()
    assert sources is not None
    assert set(sources[:, 0]) <= {0, 1, 2}
    assert sources[:, 2:].max() == 5  # of the whole image's 6 x 6 cells
    assert cv2.imread(str(bundle.support_paths[0])).shape == (SIDE, SIDE, 3)

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
        with Line.open("tray", device="cpu") as opened:
            assert opened.score(tmp_path / name).score == scored.score
            assert [each.score for each in opened.score_batch([tmp_path / name] * 2)] == [scored.score] * 2

    asked = next_adaptation(TendRequest(folder=line.parent), bundle, load_line(line), production=False)
    assert (asked.size, asked.tiles) == (64, "2x2")
    assert score.run(score_request(line, line="tray"), settings).report.is_file()
    with ResultStore(settings.database) as store:
        rows = list(store.stream(line="tray"))
    assert len(rows) == 10
    for row in rows:
        (scored,) = engine.score("tray", require_image(Path(row.image_path), manifest.preprocess).pixels[None])
        assert row.score == pytest.approx(scored.score)


def test_an_accelerator_takes_a_few_tiles_at_a_time_and_says_the_same(line: Path, home: Path) -> None:
    settings = load_settings()
    bundle = adapt.run(request(line, learner=LearnerName.MEMORY_BANK, defects=0), settings).bundle
    deployment = Registry(settings.home).deployment("tray")
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


def test_unlabelled_images_are_taken_up_as_tiles(line: Path, home: Path, tmp_path: Path) -> None:
    for path in (line / "test" / "good").iterdir():
        image = cv2.imread(str(path))
        assert image is not None
        image[0, 0] = 128  # the content is new
        assert cv2.imwrite(str(tmp_path / path.name), image)
    asked = request(line, learner=LearnerName.MEMORY_BANK, defects=0, unlabelled=tmp_path)
    result = adapt.run(asked, load_settings())
    assert result.taken_up is not None
    taken = len(result.taken_up.taken)
    assert taken
    assert len(result.bundle.manifest.support.good) == 3 + taken


@pytest.mark.parametrize(
    ("tiles", "most_ms", "expected"), [("auto", None, (2, 2)), ("auto", 1e-6, None), (None, None, None)]
)
def test_auto_takes_as_many_as_the_images_have_pixels_for_and_time_allows(
    line: Path, home: Path, tiles: str | None, most_ms: float | None, expected: tuple[int, int] | None
) -> None:
    asked = request(line, learner=LearnerName.MEMORY_BANK, tiles=tiles, most_ms=most_ms)
    if most_ms is not None:
        with pytest.raises(ConfigError, match="a backbone that takes at most"):
            adapt.run(asked, load_settings())
        return
    grid = adapt.run(asked, load_settings()).bundle.manifest.tiles
    assert (None if grid is None else (grid.rows, grid.columns)) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"oblong": True}, "--oblong"),
        ({"align": "rigid"}, "--align"),
        ({"any_angle": True}, "--any-angle"),
        ({"good": 1}, "a single good image"),
        ({"learner": "in_context"}, "the learner in_context"),
    ],
)
def test_what_is_not_combined_with_tiles_is_refused(
    line: Path, home: Path, changes: dict[str, object], said: str
) -> None:
    size = {"size": None} if "learner" in changes else {}
    with pytest.raises(ConfigError, match=said):
        adapt.run(request(line, **changes, **size), load_settings())


@pytest.mark.parametrize("tiles", ["1x1", "0x2", "99x99", "2", "2x", "many"])
def test_what_is_no_grid_of_tiles_is_refused(line: Path, tiles: str) -> None:
    with pytest.raises(ConfigError, match="tiles"):
        request(line, tiles=tiles)
