"""File names that hold a line's end, a tab, a terminal's control character or bytes that are no UTF-8, everywhere."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.synthetic.lines import write_line
from tests.checkout import REPOSITORY
from tests.flows.adapted_home import LINE, score_request
from tests.flows.command import Command
from tests.parts.image_files import png

ODD = ("new\nline", "tab\there", "byte\udcff", "red\x1b[31m", "[bold]")
SHOWN = (r"new\nline", r"tab\there", r"byte\xff", r"red\x1b[31m", "[bold]")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A line whose images have such names, with one that is no image and one of another format."""
    root = write_line(tmp_path / "made", 7, good=6, test_good=6, defects=2, size=96)
    for folder in (root / "train/good", root / "test/good"):
        for path, name in zip(sorted(folder.iterdir()), ODD, strict=False):
            path.rename(folder / f"{name}.png")
    (root / "test/good/lost\n\udcfe.png").write_bytes(b"")
    (root / "test/good/other\n\udcfe.heic").write_bytes(b"x")
    shutil.copy(root / "train/good/new\nline.png", root / "train/good/copy\n\udcff.png")
    return root


def run(*arguments: str | Path) -> list[str]:
    """What the command writes on a terminal that takes UTF-8 and nothing else."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict", "LINEWISE_DEVICE": "cpu", "COLUMNS": "400"}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)
    assert "Traceback" not in done.stderr
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_every_sentence_on_a_line_is_on_one_line(odd: Path, home: Path) -> None:
    """A name's line end broke the sentence, and a byte of it the terminal."""
    copies = (
        r"2 train good images are the same file and count once: train/good/copy\n\xff.png, train/good/new\nline.png."
    )
    lost = r"1 image cannot be used: test/good/lost\n\xfe.png (expected an image, got an empty file: "
    other = r"1 file left out, not read as images (1 .heic), such as test/good/other\n\xfe.heic: what is read is"
    for arguments in (["lines", "check", odd], ["adapt", "odd", odd, "--learner", "memory_bank", "--size", "64"]):
        told = run(*arguments)
        for sentence in (copies, lost, other):
            if sentence is lost and arguments[0] == "adapt":
                continue  # an image of test/good is not adapted from
            assert sum(sentence in line for line in told) == 1, (sentence, told)
    told = run("score", "odd", odd / "no\nfolder\udcff")
    assert told == [
        "linewise: expected a folder, a list (.txt), a video file, a stream's URL, camera:0 or genicam:NAME, "
        rf"got no folder {odd}/no\nfolder\xff: check the path"
    ]


def test_scores_name_such_images_on_one_line_and_exactly_in_json(
    odd: Path, adapted_home: Path, linewise: Command, tmp_path: Path
) -> None:
    images = odd / "test" / "good"
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "html")}
    told = run(
        *("score", LINE, images, "--no-overlays"),
        *("--json", files["json"], "--csv", files["csv"], "--report", files["html"]),
    )
    assert any(rf"no decision on {images}/lost\n\xfe.png: expected an image" in line for line in told)
    names = {row["path"] for row in json.loads(files["json"].read_text())["rows"]}
    assert {f"{name}.png" for name in ODD} < names
    rows = files["csv"].read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(names)
    assert {f"{name}.png" for name in SHOWN} < {row["path"] for row in csv.DictReader(rows)}
    page = files["html"].read_text(encoding="utf-8")
    assert all(f"{name}.png" in page for name in SHOWN)
    assert linewise("results", "export", LINE, "--output", tmp_path / "all.csv", "--format", "csv")[0] == 0
    stored = (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()
    assert len(stored) == 1 + len(names)


def test_a_prefect_run_takes_such_names(odd: Path, prefect_api: object, adapted_home: Path) -> None:
    pytest.importorskip("prefect", reason="the extra `flows` is not installed")
    from prefect.client.orchestration import get_client

    from flows.score.flow import score_folder

    dark = odd / "test/good/new\nline\udcff.png"  # flagged: it stands in the table and in the gallery
    dark.write_bytes(png(np.zeros((96, 96, 3), np.uint8)))
    state = score_folder(score_request(odd, images=dark.parent), return_state=True)
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id
        found = [str(a.data) for a in client.read_artifacts(limit=200) if a.flow_run_id == run]
    assert any(r"new\\nline\\xff.png" in data for data in found), found
