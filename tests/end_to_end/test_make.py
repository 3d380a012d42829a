"""The Makefile's installation: made by itself, quick the second time, never half-finished and taken for finished.

Run with the real make, venv and pip on a project of its own that needs no network: same Makefile, no dependencies.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.checkout import REPOSITORY

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "linewise"
version = "0.1"
"""

# Builds the editable wheel. Says where it is and waits there for ever, or fails, when it is told to.
BACKEND = """
import os, pathlib, time, zipfile

FILES = {
    "here.pth": os.getcwd(),
    "linewise-0.1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: linewise\\nVersion: 0.1\\nProvides-Extra: dev\\n",
    "linewise-0.1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "linewise-0.1.dist-info/entry_points.txt": "[console_scripts]\\nlinewise = command:main\\n",
    "linewise-0.1.dist-info/RECORD": "",
}

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    if reached := os.environ.get("HANG_AT"):
        pathlib.Path(reached).touch()
        time.sleep(600)
    if os.environ.get("FAIL"):
        raise SystemExit("the index cannot be reached")
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / "linewise-0.1-py3-none-any.whl", "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
    return "linewise-0.1-py3-none-any.whl"
"""

COMMAND = 'import sys\ndef main(): print("the command runs:", *sys.argv[1:])\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    shutil.copy(REPOSITORY / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "constraints.txt").write_text("# nothing to pin\n")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "command.py").write_text(COMMAND)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Without what an outer make, which may be running these tests, hands to an inner one."""
    outer = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS", "PYTHON"}
    inherited = {key: value for key, value in os.environ.items() if key not in outer}
    return inherited | {"PIP_NO_INDEX": "1"} | more


def make(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.end_to_end
def test_the_environment_is_made_once_and_kept_up_to_date(project: Path) -> None:
    first = make(project, "-j4", "demo", "ARGS=--seed 3")
    assert first.returncode == 0, first.stdout + first.stderr
    said = first.stdout.splitlines()
    assert said[0].startswith("==> Making a virtual environment in .venv with Python 3.")
    assert said[1].startswith("==> Installing")
    assert said[2:] == ["==> Running the demo", "the command runs: demo --seed 3"]

    second = make(project, "demo")
    assert second.stdout.splitlines() == ["==> Running the demo", "the command runs: demo"]

    earlier = (project / "pyproject.toml").stat().st_mtime - 1
    os.utime(project / ".venv" / ".installed", (earlier, earlier))
    changed = make(project, "demo", FAIL="1")
    assert changed.returncode != 0
    assert "Installing failed" in changed.stderr
    assert "the index cannot be reached" in (project / ".venv" / "install.log").read_text()
    assert "the command runs" not in changed.stdout

    # pip rolled that back: the environment is kept, the installation is due.
    again = make(project, "demo")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0].startswith("==> Installing")
    assert again.stdout.endswith("the command runs: demo\n")


def cut_short(project: Path, number: signal.Signals) -> None:
    """Starts an installation and sends the signal to all of its processes while pip is at work."""
    reached = project / "reached"
    hanging = subprocess.Popen(
        ["make", f"PYTHON={sys.executable}", "demo"],
        cwd=project,
        env=environment(HANG_AT=str(reached)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not reached.exists():
            assert hanging.poll() is None, "make ended before the backend was reached"
            assert time.monotonic() < deadline, "the backend was not reached"
            time.sleep(0.05)
    finally:
        os.killpg(hanging.pid, number)
        hanging.wait(timeout=120)


@pytest.mark.end_to_end
def test_a_killed_installation_starts_anew(project: Path) -> None:
    cut_short(project, signal.SIGKILL)
    left_behind = project / ".venv" / "half a package.py"
    left_behind.touch()

    done = make(project, "demo")

    assert done.returncode == 0, done.stderr
    assert "cut short" in done.stdout.splitlines()[0]
    assert done.stdout.endswith("the command runs: demo\n")
    assert not left_behind.exists()


@pytest.mark.end_to_end
def test_an_interrupted_installation_is_known_as_such(project: Path) -> None:
    """Ctrl-C: pip ends by itself with an ordinary status, half a package may lie there all the same."""
    cut_short(project, signal.SIGINT)

    assert (project / ".venv" / ".unfinished").exists()
    assert not (project / ".venv" / ".installed").exists()


def tools_without_python(folder: Path) -> str:
    """A PATH with what the Makefile calls and no Python."""
    folder.mkdir()
    for tool in ("sh", "echo", "mkdir", "rm", "touch"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("target", ["demo", "test", "lint", "lock"])
def test_without_a_usable_python_it_says_so(project: Path, tmp_path: Path, target: str) -> None:
    path = tools_without_python(tmp_path / "bin")
    # A version manager's shim: there by name, and failing for a version that is not switched on.
    shim = Path(path) / "python3.11"
    shim.write_text(
        textwrap.dedent("""\
        #!/bin/sh
        echo 'python3.11: command not found' >&2
        exit 127
    """)
    )
    shim.chmod(0o755)
    program = shutil.which("make")
    assert program is not None

    done = subprocess.run(
        [program, target], cwd=project, env=environment(PATH=path), capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert done.stderr.startswith("Expected Python 3.11 or newer with its venv and ensurepip modules, got none on the")
    assert not (project / ".venv").exists()


def test_a_named_python_that_is_none_is_not_replaced_by_another(project: Path) -> None:
    done = subprocess.run(
        ["make", "demo", "PYTHON=/nowhere/python3"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "got none at /nowhere/python3" in done.stderr


def test_plain_make_lists_the_targets() -> None:
    listed = subprocess.run(
        ["make"], cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "end-to-end", "lint", "bench-scoring", "lock", "clean"):
        assert f"make {target} " in listed
