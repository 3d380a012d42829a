"""`linewise watch-drift` and `linewise drift`: from images that a line's bundle scored to an alarm in words."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.results.store import ResultStore
from flows.score import job as score_job
from pipeline.settings import load_settings
from tests.flows.adapted_home import LINE, score_request
from tests.flows.command import Command


@pytest.fixture
def production(line: Path, tmp_path: Path) -> Path:
    """120 images of the line's parts in `test/`, and 15 in less light in `later/`."""
    parts = [cv2.imread(str(path)) for path in sorted((line / "train" / "good").iterdir())]
    rng = np.random.default_rng(0)
    for number in range(135):
        folder = tmp_path / ("test" if number < 120 else "later")
        folder.mkdir(exist_ok=True)
        part = parts[rng.integers(len(parts))] * rng.normal(1, 0.01) + rng.normal(0, 3, parts[0].shape)
        light = 1 if number < 120 else 0.7
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), (light * part).clip(0, 255).astype(np.uint8))
    return tmp_path


def score(folder: Path) -> None:
    score_job.run(score_request(folder.parent, images=folder, overlays=False), load_settings())


def test_less_light_is_told_once_with_its_images(linewise: Command, adapted_home: Path, production: Path):
    code, out, _ = linewise("drift")
    assert (code, out) == (0, "")
    score(production / "test")
    code, out, _ = linewise("drift", LINE, "--block", "1", "--policy", "propose")
    assert code == 0
    assert out.startswith(f"{LINE}: not watched yet: run linewise watch-drift (policy propose")
    code, out, _ = linewise("watch-drift")
    assert code == 0
    assert out.startswith(f"{LINE}: 120 new images of 120")

    score(production / "later")
    code, out, _ = linewise("watch-drift", "--line", LINE)
    assert code == 1
    assert " % darker since " in out
    assert "  before: " in out
    assert linewise("watch-drift")[0] == 0  # told once

    code, out, _ = linewise("drift", LINE, "--json", "-")
    assert code == 1
    (told,) = json.loads(out)
    assert (told["line"], told["policy"], told["block"], told["images"]) == (LINE, "propose", 1, 135)
    dark = next(alarm for alarm in told["alarms"] if alarm["statistic"] == "brightness")
    assert dark["words"].endswith(" % darker")
    assert -0.36 < dark["change"] < -0.24
    assert {Path(path).parent.name for path in dark["before"]} == {"test"}
    assert {Path(path).parent.name for path in dark["after"]} == {"later"}
    assert all(Path(path).is_file() for path in dark["before"] + dark["after"])

    assert linewise("drift", LINE, "--acknowledge", "--by", "Ada")[0] == 0
    assert "acknowledged" in linewise("drift")[1]


def test_a_scored_image_has_its_figures(adapted_home: Path, production: Path):
    score(production / "later")
    with ResultStore(load_settings().database) as store:
        row = store.query(line=LINE, limit=1)[0]
    grey = cv2.imread(row.image_path, cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    assert row.image_depth == 24
    assert row.look_brightness == pytest.approx(grey.mean(), rel=0.05)
    assert row.look_profiles is not None
    profiles = np.frombuffer(row.look_profiles, np.uint8)
    assert profiles.shape == (128,)
    assert profiles[:64].mean() == pytest.approx(row.look_brightness, abs=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drift", "nope"), "linewise: expected a line that was scored, got no image of 'nope'"),
        (("watch-drift", "--line", "nope"), "expected a line that was scored, got no image of 'nope'"),
        (("drift", "--policy", "tell"), "expected a line whose settings or alarms are meant, got none"),
        (("drift", LINE, "--policy", "panic"), "got 'panic': change --policy"),
        (("drift", LINE, "--alarms-a-year", "0"), "got 0.0: change --alarms-a-year"),
    ],
)
def test_mistakes_are_one_sentence(linewise: Command, adapted_home: Path, arguments: tuple[str, ...], said: str):
    code, _, error = linewise(*arguments)
    assert code == 2
    assert said in error
