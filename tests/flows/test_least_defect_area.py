"""The least defect area, all the way: asked for, kept in the bundle, held against what is scored and evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.adapt import job as adapt
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.request import EvaluateRequest
from flows.progress import Progress
from flows.score import job as score
from pipeline.calibration import Decision
from pipeline.errors import ConfigError
from pipeline.settings import load_settings
from tests.deploy.reports.report_parts import THRESHOLD
from tests.flows.adapted_home import SIZE, score_request
from tests.flows.command import Command


def unescaped(card: str) -> str:
    """A card without Markdown's escapes."""
    return card.replace("\\", "")


def request(line: Path, **changes: object) -> AdaptRequest:
    return AdaptRequest.asked(line="caps", images=line, learner="memory_bank", size=SIZE, good=2, defects=2, **changes)


def test_small_regions_no_longer_reject(line: Path, home: Path) -> None:
    settings = load_settings()
    adapt.run(request(line, target_false_reject_rate=0.5), settings)
    flagged = score.run(score_request(line, line="caps"), settings).summary.counts
    assert flagged.decisions[Decision.REJECT] > 0
    area = 0.9 * 96 * 96  # of an image of 96 pixels a side
    bundle = adapt.run(request(line, target_false_reject_rate=0.5, least_defect_area=area), settings).bundle
    assert bundle.manifest.threshold.least_area == pytest.approx(0.9)
    result = score.run(score_request(line, line="caps"), settings)
    assert result.summary.counts.decisions[Decision.REJECT] == 0
    assert result.summary.counts.decisions[Decision.PASS] == flagged.found
    reasons = {row["reason"] for row in json.loads(result.json_path.read_text())["rows"]}
    told = "8,294 pixels (90% of the image)"
    assert f"no marked region covers {told}" in reasons
    page = result.report.read_text()
    assert f"{told}; a smaller region does not count" in page
    assert f"none of them covers {told}, the" in page
    assert f"no marked region covers {told}" in page
    assert told in unescaped(bundle.card_path.read_text())


def test_an_area_in_square_millimetres(line: Path, home: Path) -> None:
    asked = request(line, least_defect_area=4.0, millimetres_per_pixel=0.25)
    adapted = adapt.run(asked, load_settings())
    assert adapted.threshold.least_area == pytest.approx(64 / 96**2)
    told = "4 mm2 (0.694% of the image); a smaller region does not count"
    assert told in unescaped(adapted.bundle.card_path.read_text())
    page = score.run(score_request(line, line="caps"), load_settings()).report.read_text()
    assert told in page
    assert "none of them covers 4 mm2 (0.694% of the image), the" in page


def test_an_area_is_told_of_images_of_several_sizes() -> None:
    threshold = replace(THRESHOLD, least_area=0.01)
    assert threshold.least_area_in_words() == "1% of the image"
    assert threshold.least_area_in_words([(100, 100), (100, 80)]) == "80 to 100 pixels (1% of the image)"
    in_mm = replace(threshold, millimetres_per_pixel=0.02)
    assert in_mm.least_area_in_words([(100, 100), (100, 100)]) == "0.04 mm2 (1% of the image)"


def test_an_area_as_large_as_the_image_is_refused_before_the_work(line: Path, home: Path) -> None:
    told: list[Progress] = []
    with pytest.raises(ConfigError, match="a least defect area smaller than the image, got 9216 pixels, 100% of it"):
        adapt.run(request(line, least_defect_area=96 * 96), load_settings(), told.append)
    assert {progress.done for progress in told} == {0}


@pytest.mark.parametrize(
    "values",
    [{"least_defect_area": value} for value in (0.0, -1.0, float("nan"), float("inf"))]
    + [{"least_defect_area": 1.0, "millimetres_per_pixel": value} for value in (0.0, 1e-300, float("nan"))],
    ids=str,
)
def test_an_area_that_means_nothing_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^expected (least-defect-area|millimetres-per-pixel) to be "):
        request(Path("caps"), **values)


def test_the_command_and_the_nightly_flow_have_the_option(linewise: Command, line: Path) -> None:
    flags = ("--learner", "memory_bank", "--size", SIZE, "--least-defect-area", "40")
    code, out, _ = linewise("adapt", "caps", line, *flags)
    assert code == 0
    assert "Least area of a defect: 40 pixels (0.434% of the image)" in out
    assert AdaptNewLinesRequest(least_defect_area=40).least_defect_area == 40
    assert linewise("adapt", "caps", line, "--least-defect-area", "0")[0] == 2


def test_an_area_as_large_as_the_image_is_refused_before_an_evaluation_begins(lines: Path, home: Path) -> None:
    asked = EvaluateRequest(
        train_lines=lines / "one", test_lines=lines / "two", least_defect_area=96 * 96, backbone="not looked for yet"
    )
    with pytest.raises(ConfigError, match=rf"got 9216 pixels, 100% of it in {lines}/two/.*png: state a smaller one"):
        evaluate.run(asked, load_settings())


def test_evaluation_judges_as_the_bundle_does(lines: Path, home: Path) -> None:
    asked = EvaluateRequest(
        train_lines=lines / "one",
        test_lines=lines / "two",
        learners=(LearnerName.MEMORY_BANK,),
        good=(2,),
        defects=(0,),
        seeds=1,
        size=SIZE,
        target_false_reject_rate=0.5,
    )
    (before,) = evaluate.run(asked, load_settings()).rows
    (after,) = evaluate.run(asked.model_copy(update={"least_defect_area": 0.9 * 96 * 96}), load_settings()).rows
    assert after["missed_defect_rate"] > before["missed_defect_rate"]
    assert after["false_reject_rate"] <= before["false_reject_rate"]
    assert after["image_auroc"] == before["image_auroc"]
