"""Makes `of_before.tar.xz`: what a plant had on disk at commit 8880ea9. Works at that commit alone; see README.md."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import timm
import torch
from flows.jobs import evaluate, meta_train
from flows.jobs.progress import Progress
from flows.jobs.requests import EvaluateRequest, MetaTrainRequest
from safetensors.torch import save_file

from flows import cli
from pipeline.settings import load_settings

BACKBONE = "test_efficientnet"
WORK = Path(tempfile.gettempdir()) / "linewise-of-before"
LINE = "plant/washer"
IMAGES = Path("lines/synthetic_washer_001")
LINES = "--lines 3 --seed 1 --good 6 --test-good 10 --defects 8 --size 64"
NETWORK = f"--backbone {BACKBONE} --size 64"
TRAINING = f"{NETWORK} --learner in_context --iterations 120 --good 2 --defects 2"
EVALUATION = f"{NETWORK} --lines lines --learners memory_bank --good 2 --defects 0,2 --seeds 1"


def linewise(*arguments: str | Path) -> None:
    sys.argv = ["linewise", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as stop:
        assert not stop.code, arguments


def put_weights(home: Path) -> None:
    """Random weights of what a backbone takes of the network, of few bits, so that they pack well."""
    torch.manual_seed(0)
    kept = timm.create_model(BACKBONE, pretrained=False, features_only=True, out_indices=[2, 3]).state_dict()
    whole = timm.create_model(BACKBONE, pretrained=False).state_dict()
    weights = {name: whole[name].half().to(whole[name].dtype) for name in kept}
    (home / "weights").mkdir(parents=True)
    save_file(weights, home / "weights" / f"{BACKBONE}.safetensors")


def versions() -> list[dict[str, object]]:
    linewise("registry", "list", "--json", "versions.json")
    return [{key: row[key] for key in ("line", "version", "live", "learner")} for row in read("versions.json")]


def read(path: str | Path) -> list[dict[str, object]]:
    return json.loads(Path(path).read_text())


def interrupt(stage: str, done: int):
    def on_progress(progress: Progress) -> None:
        if (progress.stage, progress.done) == (stage, done):
            raise KeyboardInterrupt

    return on_progress


def interrupted(job, request: MetaTrainRequest | EvaluateRequest, stage: str, done: int) -> None:
    try:
        job.run(request, load_settings(), interrupt(stage, done))
    except KeyboardInterrupt:
        return
    raise AssertionError(f"{stage} was not interrupted")


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    os.chdir(WORK)
    os.environ |= {"LINEWISE_HOME": str(WORK / "home"), "LINEWISE_DEVICE": "cpu"}
    platform.node = lambda: "plant"
    put_weights(WORK / "home")
    linewise("synthetic", "lines", *LINES.split())

    linewise("meta-train", "lines", *TRAINING.split(), "--output", "whole")
    settings = MetaTrainRequest(
        lines=Path("lines"), backbone=BACKBONE, size=64, learner="in_context", iterations=120, good=2, defects=2
    )
    interrupted(meta_train, settings, "meta-train in_context", 110)
    shutil.copytree("whole/meta_model", "home/runs/whole/meta_model")

    linewise("evaluate", *EVALUATION.split(), "--json", "rows.json")
    settings = EvaluateRequest(
        lines=Path("lines"), backbone=BACKBONE, size=64, learners=("memory_bank",), good=2, defects=(0, 2), seeds=1
    )
    interrupted(evaluate, settings, "folds", 2)

    adapt, score = ("adapt", LINE, IMAGES, *NETWORK.split()), ("score", LINE, IMAGES / "test", "--no-overlays")
    good = ("score", LINE, IMAGES / "test" / "good", "--no-overlays")
    linewise(*adapt, "--learner", "memory_bank", "--good", "2", "--defects", "0")
    linewise(*good)
    linewise("export", LINE, "pack")
    linewise("export", LINE, "pack-int8", "--int8", IMAGES)
    learned = ("--learner", "in_context", "--meta-model", "home/runs/whole/meta_model")
    linewise(*adapt, *learned, "--good", "2", "--defects", "2")
    linewise(*good)
    linewise(*adapt, "--learner", "auto", "--good", "2", "--defects", "2")
    linewise("registry", "import", "pack-int8", "--no-promote")
    linewise("registry", "roll-back", LINE)
    linewise("results", "export", LINE, "--output", "results.csv")

    expected: dict[str, object] = {
        "versions": versions(),
        "losses": [json.loads(line) for line in Path("whole/losses.jsonl").read_text().splitlines()],
        "evaluation": read("rows.json"),
        "results": Path("results.csv").read_text(),
        "scores": {},
    }
    os.environ["LINEWISE_DATABASE_URL"] = f"sqlite:///{WORK / 'scores.sqlite'}"
    for row in read("versions.json"):
        linewise(*score, "--version", str(row["version"]), "--json", "scores.json")
        rows = json.loads(Path("scores.json").read_text())["rows"]
        expected["scores"][row["version"]] = {row["path"]: [row["score"], row["decision"]] for row in rows}
    Path("expected.json").write_text(json.dumps(expected, indent=1))

    for folder in ("features", "templates", "reports"):  # made anew where they are missing
        shutil.rmtree(Path("home") / folder, ignore_errors=True)
    with tarfile.open(Path(__file__).with_name("of_before.tar.xz"), "w:xz", preset=9) as archive:
        for name in ("home", "pack", "expected.json"):
            archive.add(name)


if __name__ == "__main__":
    main()
