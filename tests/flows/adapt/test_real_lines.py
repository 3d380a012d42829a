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
