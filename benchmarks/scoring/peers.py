"""Point 2: against anomalib's own inferencers, files on disk to scores, on the same files in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.deployments import engine_of
from benchmarks.scoring.end_to_end import score_once
from benchmarks.scoring.setting import Setting, write_images
from benchmarks.turns import median_ratio

VARIABLE = "LINEWISE_ANOMALIB_PYTHON"
SIDES = ("torch", "openvino", "onnx")
TOLD = "onnx"  # its graph in plain onnxruntime has no key of its own


def measure(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """Throughput over anomalib's Torch and OpenVINO inferencers; nothing where its environment is not named."""
    python = os.environ.get(VARIABLE)
    if not python:
        return {}, [f"anomalib is left out: {VARIABLE} names no interpreter that has it."]
    deployment = setting.deployment
    sources = deployment.bundle.bank_sources()
    assert sources is not None, "a memory bank has rows"
    count, rounds = (16, 3) if setting.quick else (100, 7)
    folder = setting.root / "peers"
    write_images(folder, count, "jpg")
    train = setting.root / "peer_support"
    train.mkdir()
    for path in sorted((setting.images / "train" / "good").iterdir())[:4]:
        shutil.copy(path, train)
    tests = setting.images / "test"
    defect = next(path for path in sorted(tests.iterdir()) if path.name != "good")
    script = Path(__file__).with_name("anomalib_side.py")
    arguments = [train, tests / "good", defect, folder, setting.root / "anomalib", len(sources)]
    engine = engine_of(deployment)
    times: dict[str, list[float]] = {name: [] for name in ("linewise", *SIDES)}
    with (
        (setting.root / "anomalib.log").open("w+") as log,
        subprocess.Popen(  # noqa: S603
            [python, str(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as peer,
    ):
        assert peer.stdin is not None, "it is a pipe"
        assert peer.stdout is not None, "it is a pipe"

        def answer() -> str:
            assert peer.stdout is not None, "it is a pipe"
            if not (line := peer.stdout.readline()):
                log.seek(0)
                raise RuntimeError(f"anomalib's side ended:\n{log.read()[-2000:]}")
            return line

        figures = json.loads(answer())
        for number in range(rounds + 1):
            measured = {"linewise": score_once(setting, engine, folder, number)}
            for side in SIDES:
                peer.stdin.write(f"{side}\n")
                peer.stdin.flush()
                measured[side] = float(answer())
            for name, seconds in measured.items():
                if number:  # the first round warms up
                    times[name].append(seconds)
        peer.stdin.close()
    over = {side: median_ratio(times[side], times["linewise"]) for side in SIDES}
    ratios = {f"over_anomalib_{side}": ratio for side, ratio in over.items() if side != TOLD}
    rates = ", ".join(f"{name} {count / sorted(each)[rounds // 2]:.1f}" for name, each in times.items())
    cost = f"{figures['fit_and_export_seconds']:.1f} s and {figures['fit_peak_mb']:.0f} MB"
    return ratios, [
        f"Images/s against anomalib: {rates}; over its ONNX graph in plain onnxruntime {over[TOLD]:.2f}. Its bank has "
        f"{figures['bank_rows']} rows, ours {len(sources)} a layer; its fit and export to Torch took {cost}. Not "
        "equal: it predicts file by file on all cores and writes no rows; it has one grid of stride 8 with both layers "
        "joined, we a bank for each layer on its own grid; its weights are random, which changes no time."
    ]
