"""Paths in requests: `~` without a shell, the shell's folder, and a worker's, which is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.activities import ACTIVITIES
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.asking.flags import plain_type
from flows.asking.request import Request
from flows.evaluate.request import EvaluateRequest
from flows.meta_train.request import MetaTrainRequest
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.errors import ConfigError
from tests.flows.command import Command
from tests.parts.plant import write_image, write_plant


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shell's folder, and the user's home beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_every_path_of_every_request_may_begin_at_the_users_home(in_folder: Path):
    of_each = {"line": "a", "images": "a", "lines": "a", "destination": "a", "folder": "a"}
    tried = 0
    for activity in ACTIVITIES:
        fields = activity.request_class.ordered_fields()
        given = {name: value for name, value in of_each.items() if name in fields}
        for name, field in fields.items():
            if plain_type(field.annotation) is Path and name not in ("train_lines", "test_lines"):
                request = activity.request_class.model_validate(given | {name: "~/x"})
                assert request.paths()[name] == in_folder / "me" / "x", f"{name} of {activity.command}"
                tried += 1
    assert tried > 15
    request = EvaluateRequest(train_lines=Path("~/x"), test_lines=Path("~/y"))
    assert request.paths() == {"train_lines": in_folder / "me" / "x", "test_lines": in_folder / "me" / "y"}


def test_a_source_that_is_no_path_stays_as_it_is(in_folder: Path):
    for source in ("rtsp://cam/~me/1", "camera:0"):
        request = ScoreRequest(line="a", images=source, watch=False).absolute()
        assert (request.images, request.paths()) == (source, {})
        request.refuse_relative_paths()
    request = ScoreRequest(line="a", images="~/x")
    assert request.images == str(in_folder / "me" / "x")
    secret = ScoreRequest(line="a", images="rtsp://me:geheim@cam/1").absolute()
    assert "geheim" in getattr(secret.source, "url", ""), "kept beside what is shown"


def test_relative_paths_are_those_of_the_shells_folder(in_folder: Path):
    here = in_folder / "here"
    request = ScoreRequest(line="a", images="b", maps=Path("../c"), report=Path("/d.html")).absolute()
    assert request.images == str(here / "b")
    assert (request.maps, request.report) == (here / ".." / "c", Path("/d.html"))
    assert AdaptNewLinesRequest().absolute() == AdaptNewLinesRequest()


@pytest.mark.parametrize(
    ("request_", "field", "given"),
    [
        (AdaptRequest(line="a", images=Path("lines/a")), "images", "lines/a"),
        (MetaTrainRequest(lines=Path("/a"), validation_lines=Path("b")), "validation-lines", "b"),
        (ScoreRequest(line="a", images="a.txt"), "images", "a.txt"),
        (ScorePlantRequest(images=Path("/a"), json_path=Path("-")), "json", "-"),
        (AdaptRequest(line="a", images=Path("~nobody-of-this-name/a")), "images", "~nobody-of-this-name/a"),
    ],
)
def test_a_relative_path_means_nothing_to_a_worker(request_: Request, field: str, given: str):
    with pytest.raises(ConfigError) as refused:
        request_.refuse_relative_paths()
    assert str(refused.value) == (
        f"expected an absolute path for {field}, got '{given}': "
        "begin it with /, or with ~/ for the home of the worker's user"
    )


def test_the_command_writes_maps_below_the_users_home(linewise: Command, home: Path, in_folder: Path):
    write_plant(home, line="caps")
    write_image(in_folder / "me" / "images" / "a.png", brightness=40)
    code, _, error = linewise("score", "caps", "~/images", "--device", "cpu", "--maps=~/maps")
    assert code == 0, error
    assert len(list((in_folder / "me" / "maps").rglob("*.tiff"))) == 1
    assert list((in_folder / "here").iterdir()) == []
