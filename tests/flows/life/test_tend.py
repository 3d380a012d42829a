"""The life of a line from its first images to a roll-back, with real adaptations: a step once, however often asked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.bundles.registry import Registry
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.life import job
from flows.life.job import Outcome, TendedLine
from flows.life.line_notes import tending
from flows.life.request import TendRequest
from flows.roll_back import job as roll_back
from flows.roll_back.request import RollBackRequest
from flows.score import plant_job as score_plant
from flows.score.request import ScorePlantRequest
from pipeline.settings import Device, Settings, load_settings
from tests.flows.command import Command
from tests.parts.spotted_line import SIZE, write_spotted_line

LINE = "caps"


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A line of four good images, a folder whose images nobody sorted, and one whose good images are none."""
    write_spotted_line(tmp_path / "plant" / LINE, good=4, test_good=12, defects=4)
    shots = write_spotted_line(tmp_path / "shots", good=2, seed=5) / "train" / "good"
    shutil.copytree(shots, tmp_path / "plant" / LINE / "shots")
    shutil.copytree(shots, tmp_path / "plant" / "camera 3")
    for number in range(4):
        path = tmp_path / "plant" / "broken" / "good" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"no image {number}")
    return tmp_path / "plant"


def tend(plant: Path, settings: Settings, **changes: Any) -> dict[str, TendedLine]:
    request = TendRequest(**({"folder": plant, "size": SIZE, "quiet_seconds": 0, "new_verdicts": 2} | changes))
    return {line.name: line for line in job.run(request, settings).lines}


def outcomes(lines: dict[str, TendedLine]) -> dict[str, Outcome]:
    return {name: line.outcome for name, line in lines.items()}


def test_a_line_is_adapted_once_learns_from_verdicts_once_and_is_left_alone_after_a_roll_back(
    plant: Path, home: Path
) -> None:
    settings, registry = load_settings(), Registry(home)
    first = tend(plant, settings)
    assert outcomes(first) == {"broken": Outcome.FAILED, LINE: Outcome.PROMOTED, "camera 3": Outcome.WAITING}
    assert first[LINE].version == registry.live_version(LINE)
    again = tend(plant, settings)
    assert outcomes(again) == dict.fromkeys(("broken", LINE, "camera 3"), Outcome.WAITING)
    assert again["broken"].why.startswith("nothing changed since it failed: expected ")
    assert len(registry.versions(LINE)) == 1

    score_plant.run(ScorePlantRequest(images=plant, device=Device.CPU, workers=1), settings)
    with ResultStore(settings.database) as store:
        shots = sorted((plant / LINE / "shots").iterdir())
        store.add_verdicts(verdict_on(path, LINE, Verdict.GOOD) for path in shots)
    with tending(settings, LINE) as ours:
        assert ours
        assert tend(plant, settings, line=LINE)[LINE].outcome is Outcome.BUSY
    second = tend(plant, settings, line=LINE)[LINE]
    assert second.outcome is Outcome.PROMOTED, second.why
    assert second.why == "2 new verdicts"
    learned = registry.live(LINE).manifest.support
    assert registry.live_version(LINE) == second.version
    assert (learned.good_by_verdict, len(learned.good)) == (2, 6)
    assert tend(plant, settings, line=LINE)[LINE].outcome is Outcome.WAITING

    result = roll_back.run(RollBackRequest(line=LINE, why="misses scratches", by="Ada"), settings)
    assert (result.live, result.rolled_back) == (first[LINE].version, second.version)
    for _ in range(2):
        left = tend(plant, settings, line=LINE, every_hours=0.0001, least_production=1)[LINE]
        assert (left.outcome, left.why) == (
            Outcome.WAITING,
            "it was rolled back, and 0 of 2 new verdicts came since",
        )
    assert registry.live_version(LINE) == first[LINE].version
    assert len(registry.versions(LINE)) == 2


def test_the_command_says_what_became_of_each_line(linewise: Command, plant: Path) -> None:
    shutil.rmtree(plant / LINE)
    code, out, err = linewise("tend", plant, "--quiet-seconds", 0)
    assert code == 1
    assert out.startswith("camera 3: waiting, expected a product line with train/good/")
    assert "broken: failed, expected " in err
    code, out, err = linewise("roll-back", LINE)
    assert code == 2
    assert "expected a line of the registry" in err
