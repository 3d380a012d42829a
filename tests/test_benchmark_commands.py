"""Every benchmark can still be started as its page says: what it imports is there, and so are its options."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from benchmarks.study import chosen_lines
from benchmarks.tables import mean, percent, table
from benchmarks.turns import in_turns, median_ratio
from pipeline.errors import LineError
from pipeline.synthetic.lines import write_line
from tests.checkout import REPOSITORY

FOLDER = REPOSITORY / "benchmarks"
MODULES = [module.name for module in pkgutil.walk_packages([str(FOLDER)], "benchmarks.")]
COMMAND = re.compile(r"python -m (benchmarks[\w.]*)((?:[^`\n]|\\\n)*)")


def documented() -> dict[str, set[str]]:
    """The options that pages, cards and the scripts themselves name, by the module that they are given to."""
    found: dict[str, set[str]] = {}
    cards = (REPOSITORY / "model_zoo").rglob("card.md")
    for path in (*FOLDER.rglob("*.md"), *FOLDER.rglob("*.py"), *cards, REPOSITORY / "README.md"):
        for module, arguments in COMMAND.findall(path.read_text()):
            found.setdefault(module, set()).update(re.findall(r"--[a-z-]+", arguments))
    return found


DOCUMENTED = documented()


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports_and_has_the_options_that_are_written_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module, command = importlib.import_module(name), name.removesuffix(".__main__")
    if command not in DOCUMENTED or not hasattr(module, "main"):
        return  # a part of other benchmarks
    pages = [["--help"], ["test", "--help"]] if command.endswith("default_meta_model") else [["--help"]]
    for arguments in pages:
        monkeypatch.setattr("sys.argv", [command, *arguments])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"python -m {command}" in told
    assert [option for option in sorted(DOCUMENTED[command]) if option not in told] == []


def test_every_documented_command_is_there():
    assert DOCUMENTED.keys() <= {name.removesuffix(".__main__") for name in MODULES}


def test_some_of_the_lines_by_name(tmp_path: Path):
    for seed in (1, 2):
        write_line(tmp_path / "made", seed, good=2, test_good=1, defects=1, size=64)
    names = [line.name for line in chosen_lines(tmp_path, "")]
    assert len(names) == 2
    assert [line.name for line in chosen_lines(tmp_path, f" {names[1]},")] == names[1:]
    with pytest.raises(LineError, match="got made/other"):
        chosen_lines(tmp_path, f"made/other,{names[0]}")


@pytest.mark.parametrize("command", [["rotation"], ["default_meta_model", "test", "shared_direction"]])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--lines", "made/other"], "expected lines of {folder} in --lines, got made/other: name some of ['made/"),
        (["--draws", "0"], "argument --draws: expected a whole number from 1 on, got '0'"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    command: list[str],
    wrong: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    write_line(tmp_path / "made", 1, good=2, test_good=1, defects=1, size=64)
    name, *rest = command
    monkeypatch.setattr("sys.argv", [name, *rest, str(tmp_path), *wrong])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 2
    assert f"error: {told.format(folder=tmp_path)}" in capsys.readouterr().err


def test_means_leave_out_what_is_undefined():
    nan = float("nan")
    assert percent(mean([[0.5, nan], [0.7, nan], [nan, nan]])) == "60.0 / -"
    assert table(("a", "b"), [["1", "2"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_all_sides_take_their_turn():
    calls: list[tuple[str, int]] = []
    taken = in_turns({side: lambda number, side=side: calls.append((side, number)) for side in "ab"}, 2, warm_ups=1)
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert {side: len(found) for side, found in taken.items()} == {"a": 2, "b": 2}
    assert median_ratio([2.0, 9.0, 6.0], [1.0, 3.0, 3.0]) == 2.0
