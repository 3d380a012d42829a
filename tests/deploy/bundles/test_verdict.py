"""The bundle decides, and nobody else."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.bundles.verdict import Verdict
from pipeline.calibration import Decision
from tests.checkout import module_name, source_files
from tests.parts.plant import bundle_files, make_draft


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """REVIEW from 1, REJECT from 2."""
    return write_bundle(tmp_path / "v1", make_draft(), bundle_files())


@dataclass(frozen=True)
class FarAway:
    """A score whose map is on a device: reading it is a mistake."""

    score: float
    finite: bool = True

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        raise AssertionError("nothing hangs on the map")


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.99, Decision.PASS), (1.0, Decision.REVIEW), (1.99, Decision.REVIEW), (2.0, Decision.REJECT)],
)
def test_a_finite_score_is_held_against_the_threshold(bundle: Bundle, score: float, decision: Decision) -> None:
    assert bundle.judge(FarAway(score)) == Verdict(decision, None, judged=True)


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
    verdict = bundle.judge(FarAway(score, finite=False))
    assert verdict == Verdict(decision, "the model gave no finite score", judged=False)


@dataclass(frozen=True)
class Mapped:
    """A finite score, and a map with a marked square of so many cells a side."""

    score: float
    side: int
    finite: bool = True

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
        (5.0, 2, Decision.PASS, "no marked region covers 1% of the image"),
        (1.5, 2, Decision.PASS, "no marked region covers 1% of the image"),
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
    assert bundle.judge(Mapped(score, side)) == Verdict(decision, reason)


def test_the_map_is_read_only_where_the_decision_hangs_on_it(tmp_path: Path) -> None:
    draft = make_draft()
    threshold = replace(draft.threshold, least_area=0.01)
    bundle = write_bundle(tmp_path / "v1", draft.model_copy(update={"threshold": threshold}), bundle_files())
    assert bundle.judge(FarAway(0.5)) == Verdict(Decision.PASS)
    with pytest.raises(AssertionError, match="nothing hangs on the map"):
        bundle.judge(FarAway(5.0))


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
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Attribute) and side.attr in {"reject", "review"}
    }
    assert comparing <= {
        "pipeline.calibration",  # the arithmetic
        "pipeline.evaluation",  # rates
        "pipeline.promise",  # known defects that would pass
        "deploy.bundles.manifest",  # REVIEW is not above REJECT
        "deploy.bundles.facts",  # whether there is a REVIEW at all
        "deploy.reports.histogram",  # a bar's side of the line
    }
