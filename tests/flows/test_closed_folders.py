"""Folders that may not be entered and names that no file system takes: one sentence, wherever they come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.command import Command, sentence
from tests.parts.plant import write_image, write_plant
from tests.parts.rights import closed

LINE = "mvtec/pill"
COMMANDS: dict[str, tuple[str, ...]] = {
    "score a folder": ("score", LINE, "{}/images", "--device", "cpu"),
    "score a list": ("score", LINE, "{}/parts.txt", "--device", "cpu"),
    "score a video": ("score", LINE, "{}/clip.mp4", "--device", "cpu"),
    "score with an exported bundle": ("score", LINE, "{images}", "--bundle", "{}/pack", "--device", "cpu"),
    "score a plant": ("score-plant", "{}/plant", "--device", "cpu"),
    "import lines": ("lines", "import", "mvtec", "{}/data", "{images}/new"),
    "import lines into": ("lines", "import", "mvtec", "{images}", "{}/new"),
    "import a bundle": ("registry", "import", "{}/pack"),
}


@pytest.fixture
def images(home: Path, tmp_path: Path) -> Path:
    """A good image of a line whose bundle is live."""
    write_plant(home)
    write_image(tmp_path / "images" / "good.png", brightness=40)
    return tmp_path / "images"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_above_that_may_not_be_entered(
    linewise: Command, images: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    above = tmp_path / "closed"
    above.mkdir()
    with closed(above):
        code, _, error = linewise(*(part.format(above, images=images) for part in command))
    assert code == 2
    assert sentence(error).startswith(f"linewise: expected permission to use {above}/"), error
    assert sentence(error).endswith(", got permission denied: change its owner or mode\n")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_name_that_is_too_long(linewise: Command, images: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    above = tmp_path / ("x" * 300)
    code, _, error = linewise(*(part.format(above, images=images) for part in command))
    assert code == 2
    assert sentence(error).startswith(f"linewise: expected a name that the file system takes for {above}/"), error
    assert sentence(error).endswith(", got one that is too long: shorten it\n")


def test_an_evaluation_says_so_before_it_begins(linewise: Command, tmp_path: Path) -> None:
    above = tmp_path / "closed"
    above.mkdir()
    with closed(above):
        code, _, error = linewise("evaluate", "--lines", tmp_path, "--json", above / "out" / "rows.json")
    assert code == 2
    assert "permission denied" in sentence(error).lower()
    assert "Traceback" not in error


@pytest.mark.parametrize("part", ["", "lines", "backbones"])
def test_a_closed_home_is_told_by_scoring_and_by_the_doctor(
    linewise: Command, images: Path, home: Path, part: str, no_torch: None
) -> None:
    with closed(home / part):
        code, _, error = linewise("score", LINE, images, "--device", "cpu")
        asked, said, _ = linewise("doctor", "--device", "cpu", "--json", "-")
    assert code == 2
    assert sentence(error).startswith(f"linewise: expected permission to use {home / part}"), error
    assert asked in (1, 2)
    assert f"expected permission to use {home / part}" in said
