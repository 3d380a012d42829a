"""What an inspection says of real parts beside a score: where a defect is, of which kind; in library and HTTP alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.engine.devices import resolve_device
from deploy.rest.image_service import ImageService
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from linewise import Line, Result
from pipeline.imaging.images import read_size
from pipeline.kinds import NONE_OF_THESE
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.settings import Device, Settings, load_settings
from pipeline.storage import sha256_file
from pipeline.support import read_defect_mask
from tests.parts.image_files import packed_tiff

MOST = 8  # images of each kind


def others(folder: Path, settings: Settings, name: str) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Good and defective images that the line was not adapted from."""
    line, known = load_line(folder), Registry(settings.home).live(name).manifest.support
    seen = {*known.good, *known.defects}
    good, defects = (
        [record for record in records if sha256_file(record.path) not in seen]
        for records in (line.test_good, line.defects)
    )
    return good[:MOST], defects[:: max(1, len(defects) // MOST)][:MOST]


def where_right(records: Sequence[ImageRecord], results: Sequence[Result]) -> int:
    """Of how many defective images a marked region meets the defect's mask."""
    right = 0
    for record, result in zip(records, results, strict=True):
        mask = read_defect_mask(record)
        assert mask is not None
        boxes = [np.rint(region.box).astype(int) for region in result.regions]
        right += any(mask[y : y + height, x : x + width].any() for x, y, width, height in boxes)
    return right


def scored(name: str, records: Sequence[ImageRecord], settings: Settings) -> list[Result]:
    with Line.open(name, device="cpu", home=settings.home) as line:
        return line.score_batch([record.path for record in records])


def middle(results: Sequence[Result]) -> float:
    scores = [result.score for result in results if result.score is not None]
    assert len(scores) == len(results)
    return float(np.median(scores))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


def test_pills_as_tiles_within_a_region(real_lines: Path, settings: Settings, tmp_path: Path) -> None:
    folder, region = real_lines / "mvtec" / "pill", np.zeros((512, 512), np.uint8)
    region[80:440, 10:500] = 255
    assert cv2.imwrite(str(tmp_path / "region.png"), region)
    asked = {"tiles": "2x2", "size": 128, "region": tmp_path / "region.png", "target_false_reject_rate": 0.2}
    request = AdaptRequest.asked(line="pill", images=folder, learner="memory_bank", good=6, defects=14, **asked)
    bundle = adapt.run(request, settings).bundle
    good, defects = others(folder, settings, "pill")
    of_good, of_defects = scored("pill", good, settings), scored("pill", defects, settings)
    assert middle(of_defects) > middle(of_good)
    flagged = [result for result in of_defects if result.regions]
    assert len(flagged) >= MOST // 2
    assert where_right(defects, of_defects) >= len(flagged) / 2
    assert bundle.manifest.kinds is not None
    assert {result.kind for result in flagged} <= {*bundle.manifest.kinds.names, NONE_OF_THESE}
    assert len({result.kind for result in flagged}) > 1
    for x, y, width, height in (region.box for result in of_defects for region in result.regions):
        assert 80 - 16 <= y < y + height <= 440 + 16, "a cell is 16 of these pixels"
        assert 10 - 16 <= x < x + width <= 500 + 16
    with closing(ImageService(Registry(settings.home), resolve_device(Device.CPU), workers=1)) as service:
        for record, result in zip(defects[:2], of_defects, strict=False):
            posted, _ = service.score("pill", record.path.read_bytes(), record.path.name)
            assert posted.result.score == result.score
            assert [region.box for region in posted.result.regions] == [region.box for region in result.regions]


def test_cookies_in_their_own_proportions(real_lines: Path, settings: Settings) -> None:
    folder = real_lines / "aws_l4v" / "cookie"
    request = AdaptRequest.asked(line="cookie", images=folder, good=6, defects=6, size=160, oblong=True)
    size = adapt.run(request, settings).bundle.manifest.spec.size
    assert not size.is_square
    height, width = read_size(load_line(folder).train_good[0].path)
    assert (size.height > size.width) == (height > width)
    good, defects = others(folder, settings, "cookie")
    of_good, of_defects = scored("cookie", good, settings), scored("cookie", defects, settings)
    assert middle(of_defects) > middle(of_good)
    flagged = sum(bool(result.regions) for result in of_defects)
    assert flagged >= MOST // 2
    assert where_right(defects, of_defects) >= flagged / 2


def test_cells_in_twelve_bits_two_pixels_in_three_bytes_are_those_in_eight(
    real_lines: Path, settings: Settings, tmp_path: Path
) -> None:
    folder, deep = real_lines / "elpv" / "mono", tmp_path / "deep"
    good, tested = load_line(folder).train_good[:4], [*load_line(folder).test_good[:2], *load_line(folder).defects[:2]]

    def pixels(record: ImageRecord) -> np.ndarray:
        found = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
        assert found is not None
        return found

    for place, records in (("plain", good), ("deep", good), ("asked", tested)):
        (tmp_path / place / "good").mkdir(parents=True)
        for number, record in enumerate(records):
            file = tmp_path / place / "good" / f"{number}"
            if place == "plain":
                assert cv2.imwrite(f"{file}.png", pixels(record))
            else:  # 0..255 is 0..4095
                of_12_bits = np.rint(pixels(record) * (4095 / 255)).astype(np.uint16)
                file.with_suffix(".tif").write_bytes(packed_tiff(of_12_bits))
    asked = {"learner": "memory_bank", "size": 128}
    adapt.run(AdaptRequest.asked(line="plain", images=tmp_path / "plain", **asked), settings)
    adapt.run(AdaptRequest.asked(line="deep", images=deep, white_level=4095, **asked), settings)
    with Line.open("plain", device="cpu", home=settings.home) as line:
        plain = [line.score(pixels(record)).score for record in tested]
    with Line.open("deep", device="cpu", home=settings.home) as line:
        packed = [line.score(path).score for path in sorted((tmp_path / "asked" / "good").iterdir())]
    np.testing.assert_allclose(packed, plain, rtol=0.03)  # made smaller before they are rounded to 8 bits, not after


def test_pills_are_the_same_in_either_order_of_colours(real_lines: Path, settings: Settings) -> None:
    folder = real_lines / "mvtec" / "pill"
    adapt.run(AdaptRequest.asked(line="pill", images=folder, learner="memory_bank", size=128, good=4), settings)
    path = load_line(folder).defects[0].path
    blue_first = cv2.imread(str(path))
    assert blue_first is not None
    with Line.open("pill", device="cpu", home=settings.home) as line:
        right, wrong = line.score(blue_first, colour_order="bgr"), line.score(blue_first)
        red_first, of_file = line.score(blue_first[..., ::-1]), line.score(path)
    assert right.score == red_first.score
    assert right.score == pytest.approx(of_file.score, abs=0.01), "a JPEG's file is decoded at a part of its size"
    assert wrong.score != pytest.approx(of_file.score, abs=0.02), "it tells the orders apart"
