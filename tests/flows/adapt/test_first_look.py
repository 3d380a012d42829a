"""A line with a first look all the way, and why a line has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.bundles.verdict import AT_FIRST_LOOK
from deploy.results.store import ResultStore
from flows.adapt.bundling import add_bundle
from flows.adapt.line_first_look import line_first_look, refuse_cascade, with_alone
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.export.int8_gate import make_int8
from flows.life.readaptation import next_adaptation
from flows.life.request import TendRequest
from flows.line_threshold import line_threshold
from flows.open_backbone import OpenBackbone, open_backbone
from flows.score import job as score
from flows.views import SUPPORT, AdaptedLine, adapt_at_best_size
from model_zoo.learner_table import make_learner
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.settings import load_settings
from tests.flows.adapted_home import score_request

SIDE = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plates of even grain; on the defective ones lies a piece of fine gauze, which half the pixels show less well."""
    folder, rng = tmp_path_factory.mktemp("plates"), np.random.default_rng(0)
    gauze = 120 * (np.indices((36, 36)).sum(0) % 4 < 2)[..., None]
    for room, defective, count in (("good", False, 4), ("defect", True, 5), ("test/good", False, 6)):
        for number in range(count):
            image = rng.integers(90, 120, (SIDE, SIDE, 3))
            if defective:
                y, x = rng.integers(20, SIDE - 56, 2)
                image[y : y + 36, x : x + 36] += gauze
            path = folder / room / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), image.astype(np.uint8))
    return folder


@pytest.fixture
def backbones(home: Path) -> list[OpenBackbone]:
    """At 64 and 128 px, which take a second where 256 and 512 px take ten."""
    return [open_backbone(DEFAULT_BACKBONE, side, load_settings(home)) for side in (SIDE // 2, SIDE)]


def request_of(folder: Path, **asked: Any) -> AdaptRequest:
    return AdaptRequest(line="plates", images=folder, cascade=True, **asked)


def adapted_in_full(backbone: OpenBackbone, line: ProductLine, defects: int = 5) -> AdaptedLine:
    learner = make_learner("auto", backbone.spec, seed=0)
    images = line.train_good, line.defects[:defects]
    return with_alone(
        adapt_at_best_size(learner, [backbone], *images, config=SUPPORT, white_level=None, bayer=None, seed=0)
    )


def test_a_line_whose_defects_stand_out_at_the_smaller_size_is_looked_at_twice(
    folder: Path, backbones: list[OpenBackbone]
) -> None:
    request, settings, line = request_of(folder), load_settings(), load_line(folder)
    adapted = adapted_in_full(backbones[1], line)
    threshold, promise = line_threshold(request, adapted.head, adapted.view, None, adapted.alone)
    first, said = line_first_look(request, adapted, backbones, threshold)
    assert first is not None, said
    bundle, _ = add_bundle(request, settings, adapted, threshold, promise, None, {}, None, frozenset(), first)
    Registry(settings.home).promote("plates", bundle.manifest.version)
    record = bundle.manifest.first_look
    assert record is not None
    assert (record.spec.size.side, bundle.manifest.spec.size.side) == (SIDE // 2, SIDE)
    assert record.parity.max_score_error < record.parity.tolerance
    assert "| First look | at 64 px" in bundle.card_path.read_text()

    score.run(score_request(folder, line="plates", images=folder), settings)
    with ResultStore(settings.database) as store:
        rows = {Path(row.image_path).parent.name: row for row in store.query(limit=None)}
    assert rows["good"].reason == AT_FIRST_LOOK
    assert rows["defect"].reason != AT_FIRST_LOOK

    asked = next_adaptation(TendRequest(folder=folder), bundle, line, production=False)
    assert asked.cascade
    drawn = line.root / "region.json"
    drawn.touch()
    try:
        assert not next_adaptation(TendRequest(folder=folder), bundle, line, production=False).cascade
    finally:
        drawn.unlink()
    deployment = score.find_deployment(score_request(folder, line="plates"), settings)
    with pytest.raises(ConfigError, match="expected a version of plates that looks once, to make int8"):
        make_int8(deployment, folder, settings.home)

    nobody = line_first_look(request, adapted_in_full(backbones[1], line, defects=2), backbones, threshold)
    assert nobody == (None, ("It has no first look: there are 2 defective images, and 4 must vouch for one.",))
    no_smaller = line_first_look(request, adapted, backbones[1:], threshold)
    assert no_smaller == (None, ("It has no first look: 128 px is all that its own takes.",))


@pytest.mark.parametrize(
    ("asked", "chooses_size", "told"),
    [
        ({"size": 64}, True, "a learner that chooses the line's input size for --cascade, got --size 64"),
        ({"learner": LearnerName.MEMORY_BANK}, False, "for --cascade, got memory_bank"),
        ({"align": "rigid"}, True, "for --cascade, got --align"),
        ({"tiles": "2x2"}, True, "for --cascade, got --tiles"),
        ({"backbone": "a+b"}, True, r"for --cascade, got --backbone a\+b"),
    ],
)
def test_what_a_first_look_does_not_go_with_is_told(asked: dict[str, Any], chooses_size: bool, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        refuse_cascade(request_of(Path("plates"), **asked), None, "memory_bank", chooses_size=chooses_size)
