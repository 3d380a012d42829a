"""`score --watch` and `score-plant --watch` on a camera that uses one name for all of its parts."""

from __future__ import annotations

import json
import os
import signal
from hashlib import sha256
from pathlib import Path

import pytest

from deploy.results.store import ResultStore
from flows.progress import Progress
from flows.score import job, plant_job
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.settings import Device, Settings, load_settings
from tests.deploy.scoring.watching import Clock
from tests.parts.plant import write_image, write_plant
from tests.parts.whole_plant import look_all_the_time

LINE = "mvtec/pill"
BRIGHTNESSES = (120, 200, 30, 250)


class RingBuffer:
    """Writes the next part under the same name, 70 s after the last was scored; ends the run after all of them."""

    def __init__(self, current: Path, clock: Clock) -> None:
        self.current, self.clock = current, clock
        self.parts = list(BRIGHTNESSES)
        self.contents: list[str] = []
        self.write()

    def write(self) -> None:
        value = self.parts.pop(0)
        write_image(self.current, brightness=value, seed=value)
        self.contents.append(sha256(self.current.read_bytes()).hexdigest())

    def __call__(self, progress: Progress) -> None:
        self.clock.ahead += 0.1
        if progress.done < len(self.contents):
            return
        if self.parts:
            self.clock.ahead += 70
            self.write()
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            self.contents.append("")  # once is enough


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_plant(tmp_path / "home")
    return load_settings(tmp_path / "home")


@pytest.mark.parametrize("whole_plant", [False, True])
def test_four_parts_under_one_name_at_70_s(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_plant: bool
) -> None:
    look_all_the_time(monkeypatch)
    current = tmp_path / "images" / LINE / "current.png"
    camera = RingBuffer(current, Clock(monkeypatch))
    options = {"watch": True, "device": Device.CPU, "workers": 1, "report": tmp_path / "day.html"}
    options |= {"maps": tmp_path / "maps"}
    plants = ScorePlantRequest(images=tmp_path / "images", **options)
    lines = ScoreRequest(line=LINE, images=str(current.parent), **options)

    def run() -> list[dict[str, str]]:
        result = plant_job.run(plants, settings, camera) if whole_plant else job.run(lines, settings, camera)
        assert result.remarks == ()
        return json.loads(result.json_path.read_text())["rows"]

    rows = run()
    contents = camera.contents[:4]
    assert [row["sha256"] for row in rows] == contents
    assert {Path(row["path"]).name for row in rows} == {"current.png"}
    assert [row["decision"] for row in rows] == ["REVIEW", "REJECT", "PASS", "REJECT"]
    assert len(list(tmp_path.glob("maps/**/*.tiff"))) == 4
    assert len(list((tmp_path / "home").glob("overlays/**/*.jpg"))) == 3
    with ResultStore(settings.database) as store:
        assert {row.image_sha256 for row in store.query()} == set(contents)

    camera.parts, camera.contents = [], contents[-1:]  # what lies there is known by its content
    assert [(row["sha256"], row["decision"]) for row in run()] == [(contents[-1], "REJECT")]
    with ResultStore(settings.database) as store:
        assert (len(store.query()), store.runs()[0].skipped) == (4, 1)
