"""Every command in the README runs.

All ```sh blocks of README.md run in order in one bash, as a reader would paste them: in an empty folder, with an empty
LINEWISE_HOME, the first failure ending it. A block that a test cannot run in that way (it clones, serves, or needs a
GPU) says why in a comment just above it, and the reason is printed:

    <!-- not run: starts servers; tests/end_to_end/test_prefect_server.py runs them -->
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkout import REPOSITORY

README = REPOSITORY / "README.md"
TIME_LIMIT = 1800.0  # seconds: only against what hangs

FENCE = re.compile(r"^```(?P<language>\S*)[^\S\n]*\n(?P<text>.*?)^```[^\S\n]*$", re.MULTILINE | re.DOTALL)
# Its reason on one line or several.
NOT_RUN = re.compile(r"<!--\s*not run:\s*(?P<reason>(?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
# Blocks that show no command; every other language is refused, so that no command hides from this test.
NOT_COMMANDS = {"text", "mermaid", "json", "yaml", "toml", "python"}


@dataclass(frozen=True)
class Block:
    """One ```sh block: where it starts, what it runs, and why not, if so."""

    line: int
    text: str
    not_run: str | None


def command_blocks(markdown: str) -> list[Block]:
    """The ```sh blocks of a text. Raises ValueError where one could not be run as a reader would run it."""
    blocks = []
    for found in FENCE.finditer(markdown):
        line = markdown.count("\n", 0, found.start()) + 1
        language, text = found["language"], found["text"]
        if language in NOT_COMMANDS:
            continue
        if language != "sh":
            raise ValueError(f"line {line}: expected a block of sh or one of {sorted(NOT_COMMANDS)}, got {language!r}")
        if re.search(r"^\s*[$%>] ", text, re.MULTILINE):
            raise ValueError(f"line {line}: a prompt in front of a command cannot be pasted")
        comment = NOT_RUN.search(markdown[: found.start()])
        if comment and not comment["reason"]:
            raise ValueError(f"line {line}: not run, and no reason given")
        blocks.append(Block(line, text, " ".join(comment["reason"].split()) if comment else None))
    return blocks


def run_in_order(blocks: list[Block], folder: Path) -> tuple[int, str]:
    """Runs the blocks that can run in one bash in the folder. Returns its exit status and all it printed."""
    script = ["set -euo pipefail"]
    for block in blocks:
        if block.not_run is None:
            script += [f"echo {shlex.quote(f'### README.md, line {block.line}')}", "set -v", block.text, "set +v"]
    home = folder.parent / "home"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LINEWISE_HOME": str(home / "linewise"),
        "PREFECT_HOME": str(home / "prefect"),
    }
    # From a file and into a file: a command that reads its input must not eat the commands after it, and one that goes
    # on in the background must not keep a pipe open.
    file, output = folder.parent / "readme.sh", folder.parent / "output.txt"
    file.write_text("\n".join(script) + "\n", encoding="utf-8")
    with output.open("wb") as sink:
        bash = subprocess.Popen(
            ["bash", file],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = bash.wait(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            status = 124
            sink.write(f"\n### not finished after {TIME_LIMIT:.0f} s\n".encode())
        finally:
            # What it left running in the background ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
            bash.wait()
    return status, output.read_text(encoding="utf-8", errors="replace")


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

    status, output = run_in_order(blocks, folder)

    with capsys.disabled():  # what was left out is told in every run, not only in a failed one
        print(f"\nREADME.md: its commands took {time.monotonic() - started:.0f} s")
        for block in blocks:
            if block.not_run is not None:
                print(f"README.md, line {block.line} is not run: {block.not_run}")
    assert status == 0, output[-8000:]


def test_what_is_not_run_names_real_targets_and_tests() -> None:
    """A block that is not run can still rot: its make targets exist, and so does the test that its reason points to."""
    for block in command_blocks(README.read_text(encoding="utf-8")):
        if block.not_run is None:
            continue
        for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE):
            dry = subprocess.run(
                ["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False
            )
            assert dry.returncode == 0, f"README.md, line {block.line}: {dry.stderr}"
        for name in re.findall(r"tests/[\w/.]*\w", block.not_run):
            assert (REPOSITORY / name).exists(), f"README.md, line {block.line} points to {name}, which does not exist"


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

    status, output = run_in_order(blocks, folder)

    assert status == 0, output
    assert (folder / "one folder" / "said.txt").read_text() == "hello\n"


def is_running(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # a zombie waits to be reaped by whoever adopted it


def test_what_runs_in_the_background_ends_with_the_readme(folder: Path) -> None:
    status, output = run_in_order(command_blocks("```sh\nsleep 300 &\necho serving: $!\n```\n"), folder)
    assert status == 0, output
    (number,) = re.findall(r"^serving: (\d+)$", output, re.MULTILINE)
    deadline = time.monotonic() + 60
    while is_running(number):
        assert time.monotonic() < deadline, "still serving"
        time.sleep(0.05)


def test_the_first_failure_ends_it_and_is_told(folder: Path) -> None:
    status, output = run_in_order(command_blocks("```sh\nls nowhere\n```\n\n```sh\ntouch later\n```\n"), folder)
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
