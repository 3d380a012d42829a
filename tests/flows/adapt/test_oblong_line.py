"""A line of oblong images all the way: its input follows them, and places are told in their pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from deploy.engine.runtime import ScoringEngine
from deploy.exporting.int8 import calibration_images
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.open_backbone import open_backbone
from flows.score import job as score
from flows.views import candidate_sizes
from pipeline.errors import ConfigError
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import load_line
from pipeline.regions import MarkedMap
from pipeline.settings import Device, load_settings
from tests.flows.adapted_home import score_request

HEIGHT, WIDTH = 48, 96


@pytest.fixture
def folder(line: Path, tmp_path: Path) -> Path:
    """The upper halves of a line's images, 48 x 96 px."""
    target = tmp_path / "belt"
    for path in line.rglob("*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image is not None
        (target / path.relative_to(line)).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(target / path.relative_to(line)), image[:HEIGHT])
    return target


def test_the_input_follows_the_images_and_regions_lie_where_the_defect_is(folder: Path, home: Path) -> None:
    settings = load_settings()
    of_one_size = AdaptRequest(line="belt", images=folder, learner=LearnerName.MEMORY_BANK, oblong=True)
    with pytest.raises(ConfigError, match="expected a learner that chooses its input size for --oblong"):
        adapt.run(of_one_size, settings)
    request = AdaptRequest(line="belt", images=folder, good=3, defects=0, oblong=True, target_false_reject_rate=0.2)
    bundle = adapt.run(request, settings).bundle
    manifest = bundle.manifest
    assert manifest.spec.size == (manifest.preprocess.height, manifest.preprocess.width) == (192, 352)
    assert "192 × 352 RGB" in bundle.card_path.read_text()
    good = cv2.imread(str(next((folder / "test" / "good").iterdir())))
    assert good is not None
    left, right = folder / "test" / "left.png", folder / "test" / "right.png"
    for path, columns in ((left, slice(8, 20)), (right, slice(76, 88))):
        marked = good.copy()
        marked[18:30, columns] = (0, 0, 255)
        assert cv2.imwrite(str(path), marked)
    engine = ScoringEngine(
        open_backbone(manifest.backbone.name, manifest.spec.size, settings).artefact, Device.CPU, threads=1
    )
    engine.add_head("belt", bundle.head_path, bundle.head_sha256)
    for path, middle in ((left, 14), (right, 82)):
        (scored,) = engine.score("belt", require_image(path, manifest.preprocess).pixels[None])
        assert scored.anomaly_map.shape == (24, 44)
        assert scored.score > manifest.threshold.reject
        largest, *_ = MarkedMap(scored.anomaly_map, manifest.threshold.pixel).regions((HEIGHT, WIDTH))
        x, y, width, height = largest.box
        assert x + width / 2 == pytest.approx(middle, abs=6)
        assert y + height / 2 == pytest.approx(24, abs=6)
    report = score.run(score_request(folder, line="belt"), settings).report
    assert report.is_file()

    asked = next_adaptation(TendRequest(folder=folder.parent), bundle, load_line(folder), production=False)
    assert (asked.size, asked.oblong) == (None, True)
    assert calibration_images(manifest.spec).shape == (16, 192, 352, 3)


@pytest.mark.parametrize(
    ("size", "oblong", "expected"),
    [(None, False, [(256, 256)]), (512, False, [(512, 512)]), (None, True, [(192, 352)]), (512, True, [(352, 736)])],
)
def test_images_are_squeezed_unless_they_are_to_keep_their_proportions(
    folder: Path, size: int | None, oblong: bool, expected: list[tuple[int, int]]
) -> None:
    line = load_line(folder)
    assert list(candidate_sizes([*line.train_good, *line.defects], side=size, oblong=oblong)) == expected
