"""Every command of a page runs: its ```sh blocks, in order, as a reader would paste them.

All of them run in one bash, in an empty folder, with an empty LINEWISE_HOME, the first failure ending it. A block that
a test cannot run in that way (it clones, serves, or needs a GPU) says why in a comment just above it:

    <!-- not run: starts servers; tests/end_to_end/test_readme.py runs them -->
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.checkout import REPOSITORY

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


def run_in_order(blocks: list[Block], folder: Path, page: str) -> tuple[int, str]:
    """Runs the blocks that can run in one bash in the folder. Returns its exit status and all it printed."""
    script = ["set -euo pipefail"]
    for block in blocks:
        if block.not_run is None:
            script += [f"echo {shlex.quote(f'### {page}, line {block.line}')}", "set -v", block.text, "set +v"]
    home = folder.parent / "home"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LINEWISE_HOME": str(home / "linewise"),
        "PREFECT_HOME": str(home / "prefect"),
    }
    # From a file and into a file: a command that reads its input must not eat the commands after it, and one that goes
    # on in the background must not keep a pipe open.
    file, output = folder.parent / "page.sh", folder.parent / "output.txt"
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


def targets_and_tests_that_are_missing(page: Path) -> list[str]:
    """What a block that is not run names and is not there: such a block can still rot."""
    missing = []
    for block in command_blocks(page.read_text(encoding="utf-8")):
        if block.not_run is None:
            continue
        for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE):
            dry = subprocess.run(
                ["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False
            )
            missing += [f"{page.name}, line {block.line}: {dry.stderr}"] if dry.returncode else []
        for name in re.findall(r"tests/[\w/.]*\w", block.not_run):
            missing += [] if (REPOSITORY / name).exists() else [f"{page.name}, line {block.line}: {name}"]
    return missing
