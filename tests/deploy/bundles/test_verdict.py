"""The bundle decides, and nobody else."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle, load_bundle, write_bundle
from deploy.bundles.verdict import Verdict
from pipeline.calibration import Decision
from pipeline.likeness import Likeness, Seen
from tests.checkout import module_name, source_files
from tests.parts.plant import bundle_files, make_draft

SEEN = Seen(np.full((32, 32, 3), 90, np.uint8), (64, 48))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """REVIEW from 1, REJECT from 2."""
    return write_bundle(tmp_path / "v1", make_draft(), bundle_files())


@dataclass(frozen=True)
class FarAway:
    """A score whose map is on a device: reading it is a mistake."""

    score: float
    finite: bool = True
    distance: float | None = None
    at_first_look: bool = False

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        raise AssertionError("nothing hangs on the map")


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.99, Decision.PASS), (1.0, Decision.REVIEW), (1.99, Decision.REVIEW), (2.0, Decision.REJECT)],
)
def test_a_finite_score_is_held_against_the_threshold(bundle: Bundle, score: float, decision: Decision) -> None:
    scored = FarAway(score) if decision is Decision.PASS else Mapped(score, side=0)
    assert bundle.judge(scored, SEEN) == Verdict(decision, None, judged=True)


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (math.nan, Decision.REVIEW),
        (-math.inf, Decision.REVIEW),
        (math.inf, Decision.REJECT),
        (0.1, Decision.REVIEW),  # a cell of its map is not finite
    ],
)
def test_what_is_not_finite_never_passes_and_says_why(bundle: Bundle, score: float, decision: Decision) -> None:
    verdict = bundle.judge(FarAway(score, finite=False), SEEN)
    assert verdict == Verdict(decision, "the model gave no finite score", judged=False)


@dataclass(frozen=True)
class Mapped:
    """A finite score, and a map with a marked square of so many cells a side."""

    score: float
    side: int
    finite: bool = True
    distance: float | None = None
    at_first_look: bool = False

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        marked = np.zeros((32, 32), np.float32)
        marked[: self.side, : self.side] = 3.0
        return marked


@pytest.mark.parametrize(
    ("score", "side", "decision", "reason"),
    [
        (5.0, 4, Decision.REJECT, None),
        (1.5, 4, Decision.REVIEW, None),
        (5.0, 2, Decision.PASS, "no marked region covers 30.7 pixels (1% of the image)"),
        (1.5, 2, Decision.PASS, "no marked region covers 30.7 pixels (1% of the image)"),
        (5.0, 0, Decision.REJECT, None),
        (0.5, 4, Decision.PASS, None),
    ],
)
def test_regions_below_the_least_area_do_not_count(
    tmp_path: Path, score: float, side: int, decision: Decision, reason: str | None
) -> None:
    draft = make_draft()
    threshold = replace(draft.threshold, least_area=0.01)
    bundle = write_bundle(tmp_path / "v1", draft.model_copy(update={"threshold": threshold}), bundle_files())
    verdict = bundle.judge(Mapped(score, side), SEEN)
    assert verdict[:2] == (decision, reason)
    assert len(verdict.regions) == (decision is not Decision.PASS and side > 0)


def test_regions_are_told_in_the_images_own_pixels(tmp_path: Path) -> None:
    draft = make_draft()
    threshold = replace(draft.threshold, millimetres_per_pixel=0.5)
    bundle = write_bundle(tmp_path / "v1", draft.model_copy(update={"threshold": threshold}), bundle_files())
    (region,) = bundle.judge(Mapped(5.0, 8), SEEN).regions  # of 32 cells a side
    assert region.box == pytest.approx((0, 0, 12, 16), abs=0.5)
    assert region.area == pytest.approx(12 * 16, rel=0.05)
    assert region.area_mm2 == pytest.approx(region.area / 4, rel=1e-3)
    assert (region.peak, 1.5 < region.mean < 3.0) == (3.0, True)


def test_the_map_is_read_only_of_what_the_score_flags(bundle: Bundle) -> None:
    assert bundle.judge(FarAway(0.5), SEEN) == Verdict(Decision.PASS)
    with pytest.raises(AssertionError, match="nothing hangs on the map"):
        bundle.judge(FarAway(5.0), SEEN)


def test_nobody_else_decides() -> None:
    """Who holds a score against a threshold himself will miss whatever else a decision comes to hang on."""
    deciders = {
        module_name(file)
        for file in source_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "decide"
    }
    assert deciders == {"deploy.bundles.bundle"}


def test_limits_are_compared_where_they_are_drawn_and_measured_only() -> None:
    comparing = {
        module_name(file)
        for file in source_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Attribute) and side.attr in {"reject", "review"}
    }
    assert comparing <= {
        "pipeline.calibration",  # the arithmetic
        "pipeline.evaluation",  # rates
        "pipeline.promise",  # known defects that would pass
        "pipeline.recalibration",  # good images that it rejects
        "flows.calibrate.new_images",  # what the threshold before rejects, and one that is in no bundle yet
        "deploy.bundles.manifest",  # REVIEW is not above REJECT
        "deploy.bundles.threshold_versions",  # whether it is below the one that a first look was set for
        "deploy.bundles.facts",  # whether there is a REVIEW at all
        "deploy.reports.histogram",  # a bar's side of the line
        "deploy.results.threshold_effects",  # what others would have decided
        "deploy.review.threshold_page",  # REVIEW is not above REJECT
        "flows.gate.production_rule",  # whether there is a REVIEW at all
        "flows.threshold.effect_rows",  # whether there is a REVIEW at all
        "flows.threshold.request",  # REVIEW is not above REJECT
    }


LIKENESS = Likeness(
    distance=0.5,
    black=0.4,
    white=0.4,
    even=0.5,
    cast_low=(-0.3, -0.3, -0.3),
    cast_high=(0.3, 0.3, 0.3),
    sizes=((96, 128),),
    colours=(True,),
    images=4,
)


def noise(low: int = 80, high: int = 120) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(low, high, (32, 32, 3), dtype=np.uint8)


def half(value: int) -> NDArray[np.uint8]:
    image = noise()
    image[12:] = value
    return image


def without_red() -> NDArray[np.uint8]:
    image = noise()
    image[..., 0] = 0
    return image


@pytest.mark.parametrize("score", [0.5, 1.5, 5.0])
@pytest.mark.parametrize(
    ("seen", "distance", "reason"),
    [
        (Seen(noise(0, 6), (96, 128)), 0.1, "unlike the line: 100% of the image is black, and no more than 40% should"),
        (Seen(noise(251, 255), (96, 128)), 0.1, "unlike the line: 100% of the image is white, and no more than 40% "),
        (Seen(half(128), (96, 128)), 0.1, "unlike the line: 62% of the image is of one value, and no more than 50% "),
        (Seen(without_red(), (96, 128)), 0.1, "unlike the line: too little red"),
        (Seen(noise(), (128, 96)), 0.1, "unlike the line: 128 x 96 pixels have other proportions than 96 x 128 pixels"),
        (Seen(noise(), (96, 128)), 0.6, "unlike the line: another product, or the camera is moved, defocused or"),
        (Seen(noise(), (96, 128)), math.nan, "unlike the line: another product, or the camera is moved, defocused or"),
    ],
)
def test_what_is_unlike_the_line_is_looked_at_whatever_its_score(
    tmp_path: Path, seen: Seen, distance: float, reason: str, score: float
) -> None:
    draft = make_draft().model_copy(update={"likeness": LIKENESS})
    bundle = write_bundle(tmp_path / "v1", draft, bundle_files())
    verdict = bundle.judge(FarAway(score, distance=distance), seen)
    assert (verdict.decision, verdict.judged) == (Decision.REVIEW, True)
    assert verdict.reason is not None
    assert verdict.reason.startswith(reason)
    assert load_bundle(tmp_path / "v1").manifest.likeness == LIKENESS


def test_what_is_like_the_line_is_judged_by_its_score(tmp_path: Path) -> None:
    draft = make_draft().model_copy(update={"likeness": LIKENESS})
    bundle = write_bundle(tmp_path / "v1", draft, bundle_files())
    for distance in (0.5, None):
        assert bundle.judge(FarAway(0.5, distance=distance), Seen(noise(), (192, 256))) == Verdict(Decision.PASS)
        assert bundle.judge(Mapped(2.5, 0, distance=distance), Seen(noise(), (96, 128))) == Verdict(Decision.REJECT)


def test_a_bundle_of_before_takes_every_image_for_one_of_its_line(bundle: Bundle) -> None:
    assert bundle.judge(FarAway(0.5), Seen(noise(0, 1), (16, 900))) == Verdict(Decision.PASS)
