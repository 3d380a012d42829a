"""`score --parts` and `score-plant --parts`: what the request refuses, and what report, figures and export say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.score import job, plant_job
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.errors import ConfigError
from pipeline.settings import Device, Settings, load_settings
from tests.flows.command import Command
from tests.parts.plant import write_image, write_plant

LINE = "mvtec/pill"
RULE = {"parts": "{part}_{view}.png", "views": ("top", "side")}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    write_plant(tmp_path / "home")
    return load_settings(tmp_path / "home")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "plant" / LINE
    for number, brightness in enumerate((10, 200, 120)):
        write_image(folder / f"{number}_top.png", brightness=10, seed=number)
        write_image(folder / f"{number}_side.png", brightness=brightness, seed=10 + number)
    write_image(folder / "<b>_side.png", brightness=10, seed=20)
    return folder


def request(images: Path, **changes: Any) -> ScoreRequest:
    return ScoreRequest.asked(
        **{"line": LINE, "images": str(images), "device": Device.CPU, "workers": 1, **RULE, **changes}
    )


def test_the_report_has_a_table_of_parts_the_worst_first(settings: Settings, images: Path) -> None:
    result = job.run(request(images), settings)
    figures = {name: value for name, value in result.figures().items() if name.startswith("parts")}
    assert figures == {"parts": 4, "parts_pass": 1, "parts_review": 2, "parts_reject": 1, "parts_incomplete": 1}
    assert json.loads(result.json_path.read_text())["parts_reject"] == 1
    page = result.report.read_text()
    table = page[page.index("<h2>Parts</h2>") : page.index("<h2>Images</h2>")]
    names = [row.split("</bdi>")[0] for row in table.split('<th scope="row"><bdi>')[1:]]
    assert names == ["1", "2", "&lt;b&gt;", "0"]
    assert "view top of top, side is missing" in table
    assert "on one scale" in table


def test_a_run_without_a_rule_says_nothing_of_parts(settings: Settings, images: Path) -> None:
    result = job.run(request(images, parts=None, views=None), settings)
    assert "parts" not in result.figures()
    assert "<h2>Parts</h2>" not in result.report.read_text()


def test_a_plants_figures_and_pages_tell_its_parts(settings: Settings, images: Path, tmp_path: Path) -> None:
    options = {"images": tmp_path / "plant", "device": Device.CPU, "workers": 1, "report": tmp_path / "day.html"}
    result = plant_job.run(ScorePlantRequest.asked(**options, **RULE), settings)
    assert (result.figures()["parts"], result.figures()["parts_incomplete"]) == (4, 1)
    assert result.summary.parts_fit
    (page,) = (tmp_path / "day_lines").rglob("*.html")
    assert "<h2>Parts</h2>" in page.read_text()


def test_the_commands_show_and_export_parts(
    settings: Settings, images: Path, tmp_path: Path, linewise: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(settings.home))
    rule = ("--parts", "{part}_{view}.png", "--views", "2")
    code, out, _ = linewise("score", LINE, images, "--device", "cpu", "--workers", "1", *rule)
    shown = " ".join(out.split())
    assert code == 0
    assert "4 parts: 1 REJECT, 2 REVIEW, 1 PASS; 1 without all views" in shown
    assert "REJECT 1, worst view side" in shown
    table = tmp_path / "parts.csv"
    assert linewise("results", "export", LINE, "--parts", "--output", table)[0] == 0
    assert [line.split(",")[1] for line in table.read_text().splitlines()[1:]] == ["0", "1", "2", "<b>"]
    code, _, said = linewise("results", "export", LINE, "--parts", "--run", "1", "--output", table)
    assert code == 2
    assert "either parts or a run" in " ".join(said.split())


@pytest.mark.parametrize("rule", [("{part}-{view}.png", "2"), ("{part}_{view}.png", "left,right")])
def test_a_rule_that_fits_no_image_is_told_and_ends_with_one(
    settings: Settings, images: Path, linewise: Command, monkeypatch: pytest.MonkeyPatch, rule: tuple[str, str]
) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(settings.home))
    options = ("--device", "cpu", "--workers", "1", "--parts", rule[0], "--views", rule[1])
    of_line, of_plant = ("score", LINE, images, *options), ("score-plant", images.parent.parent, *options)
    for asked in (of_line, (*of_line, "--json", "-"), of_plant, (*of_plant, "--json", "-")):
        code, _, said = linewise(*asked)
        assert code == 1
        told = f"expected a rule that fits the images' paths, got {rule[0]} with {rule[1]}, which fits none of them: "
        assert told in " ".join(said.split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": None}, "parts without views"),
        ({"parts": None}, "views without parts"),
        ({"parts": None, "views": None, "part_timeout": 5}, "part-timeout"),
        ({"parts": "{part}.png"}, "one {view}"),
        ({"views": "top"}, "different views"),
        ({"part_timeout": 0}, "part-timeout"),
    ],
)
def test_what_makes_no_rule_is_said_before_anything_is_scored(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        request(Path("images"), **changes)


def test_views_may_be_names_or_a_number() -> None:
    for views, count in (("top, side,bottom", 3), ("4", 4), (4, 4), (["a", "b"], 2)):
        rule = request(Path("images"), views=views).part_rule
        assert rule is not None
        assert rule.count == count


def test_parts_of_a_list_are_refused(settings: Settings, images: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.txt").write_text(str(images / "0_top.png"))
    with pytest.raises(ConfigError, match="a folder to find parts in"):
        job.run(request(tmp_path / "parts.txt"), settings)
