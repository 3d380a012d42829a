"""`make lint` finds what is wrong in `deploy/` by the rules of who reads it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.checkout import REPOSITORY

BIN = Path(sys.executable).parent
missing = [name for name in ("hadolint", "check-jsonschema", "kubernetes-validate") if not (BIN / name).exists()]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        ("docker/Dockerfile", "FROM python:3.11-slim", "FROM python", "DL3006"),
        ("docker/compose.yaml", "image: postgres:15", "imagee: postgres:15", "imagee"),
        ("kubernetes/linewise.yaml", "replicas: 1", "replicass: 1", "replicass"),
        pytest.param(
            *("systemd/linewise-worker.service", "KillMode=mixed", "KillMode=some", "kill mode"),
            marks=pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze"),
        ),
    ],
)
def test_a_wrong_file_is_found(file: str, right: str, wrong: str, told: str, tmp_path: Path):
    for part in (".ci/lint-deploy", "deploy/docker", "deploy/kubernetes", "deploy/systemd"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
        copy(REPOSITORY / part, tmp_path / part)
    path = tmp_path / "deploy" / file
    path.write_text(path.read_text().replace(right, wrong, 1))
    done = subprocess.run([tmp_path / ".ci" / "lint-deploy", BIN], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr


def test_the_image_is_built_from_all_that_the_wheel_has():
    """Hatchling leaves out in silence what it is told to pack and does not find."""
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packed = {*build["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], *build["project"]["license-files"]}
    lines = (REPOSITORY / "deploy" / "docker" / "Dockerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert packed <= copied
