"""Every command in the README runs; see `tests.parts.page_commands`. What is not run is printed with its reason."""

import re
import time
from pathlib import Path

import pytest

from tests.checkout import REPOSITORY
from tests.parts.page_commands import TIME_LIMIT, command_blocks, run_in_order, targets_and_tests_that_are_missing

README = REPOSITORY / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a reader's folder"
    made.mkdir()
    (tmp_path / "home").mkdir()
    return made


@pytest.mark.end_to_end
@pytest.mark.timeout(TIME_LIMIT + 30)
def test_every_command_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = command_blocks(README.read_text(encoding="utf-8"))
    assert any(block.not_run is None for block in blocks), "the README shows no command that can be tried"
    started = time.monotonic()

    status, output = run_in_order(blocks, folder, README.name)

    with capsys.disabled():  # what was left out is told in every run, not only in a failed one
        print(f"\nREADME.md: its commands took {time.monotonic() - started:.0f} s")
        for block in blocks:
            if block.not_run is not None:
                print(f"README.md, line {block.line} is not run: {block.not_run}")
    assert status == 0, output[-8000:]


def test_what_is_not_run_names_real_targets_and_tests() -> None:
    """A block that is not run can still rot: its make targets exist, and so does the test that its reason points to."""
    assert targets_and_tests_that_are_missing(README) == []


def test_the_readme_starts_with_the_two_commands() -> None:
    text = "".join(block.text for block in command_blocks(README.read_text(encoding="utf-8")))
    assert "make demo" in text
    assert "make test" in text


EXAMPLE = """
# A tool

```sh
export GREETING=hello; mkdir "one folder"
cd "one folder"
```

Later on:

```sh
echo $GREETING > said.txt
cat   # with nothing to read
```

<!-- not run: it would
     serve for ever -->

```sh
exit 7
```

```json
{"not": "a command"}
```
"""


def test_blocks_run_in_order_in_one_shell(folder: Path) -> None:
    blocks = command_blocks(EXAMPLE)
    assert [block.line for block in blocks] == [4, 11, 19]
    assert [block.not_run for block in blocks] == [None, None, "it would serve for ever"]

    status, output = run_in_order(blocks, folder, README.name)

    assert status == 0, output
    assert (folder / "one folder" / "said.txt").read_text() == "hello\n"


def is_running(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # a zombie waits to be reaped by whoever adopted it


def test_what_runs_in_the_background_ends_with_the_readme(folder: Path) -> None:
    status, output = run_in_order(command_blocks("```sh\nsleep 300 &\necho serving: $!\n```\n"), folder, README.name)
    assert status == 0, output
    (number,) = re.findall(r"^serving: (\d+)$", output, re.MULTILINE)
    deadline = time.monotonic() + 60
    while is_running(number):
        assert time.monotonic() < deadline, "still serving"
        time.sleep(0.05)


def test_the_first_failure_ends_it_and_is_told(folder: Path) -> None:
    status, output = run_in_order(
        command_blocks("```sh\nls nowhere\n```\n\n```sh\ntouch later\n```\n"), folder, README.name
    )
    assert status != 0
    assert "### README.md, line 1" in output
    assert "nowhere" in output
    assert not (folder / "later").exists()


@pytest.mark.parametrize(
    ("markdown", "complaint"),
    [
        ("```bash\nls\n```\n", "got 'bash'"),
        ("```\nls\n```\n", "got ''"),
        ("```sh\n$ ls\n```\n", "prompt"),
        ("<!-- not run: -->\n```sh\nls\n```\n", "no reason"),
    ],
)
def test_what_could_hide_a_command_is_refused(markdown: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        command_blocks("\n" + markdown)
