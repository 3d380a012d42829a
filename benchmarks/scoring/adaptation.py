"""Points 5 and 6: what adaptation costs, and how far exported heads are from torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.deployments import adapt_bank
from benchmarks.draws import GOOD, uncached
from benchmarks.scoring.setting import DEFECTS, Setting, memory_mb
from deploy.engine.runtime import ScoringEngine
from deploy.exporting.torch_to_onnx import check_parity, export_head
from flows.asking.learner_names import LearnerName
from flows.views import DEFAULT_SIZE, view_of
from model_zoo.learner_table import make_learner
from pipeline.imaging.images import require_image
from pipeline.product_lines.lines import find_lines
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_lines

QUICK_LEARNERS = (LearnerName.MEMORY_BANK, LearnerName.IN_CONTEXT)


def measure_cost(setting: Setting) -> tuple[dict[str, float], list[str]]:
    """Seconds from support images to a verified bundle, 4 good and 4 defective; peak memory of the process."""
    command = [sys.executable, "-m", "benchmarks.scoring.adaptation", str(setting.settings.home), str(setting.images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return json.loads(done.stdout), ["memory_bank, k = 4 + 4, 1 Mpx PNG; the second adaptation of a process."]


def one_process(home: Path, images: Path) -> None:
    """Adapt twice: a head's graph is traced once a machine, and a process loads torch once."""
    _, seconds = [adapt_bank(images, load_settings(home), defects=DEFECTS) for _ in range(2)]
    print(json.dumps({"adapt_seconds": seconds, "adapt_peak_mb": memory_mb("VmHWM")}))


def measure_parity(setting: Setting, lines: Path | None) -> tuple[dict[str, float], list[str]]:
    """The largest score and map difference of exported heads, every learner untrained on the first line."""
    count, learners = (12, QUICK_LEARNERS) if setting.quick else (200, tuple(LearnerName))
    folder = lines or setting.root / "parity_lines"
    if lines is None:
        write_lines(folder, [21], good=8, test_good=100, defects=100)
    found = find_lines(folder)
    line = found[0]
    backbone = uncached(setting.settings, DEFAULT_SIZE).backbone
    view = view_of(backbone, line.train_good[:GOOD], line.defects[:DEFECTS], seed=0)
    records = [record for each in found for record in (*each.test_good, *each.defects)]
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, min(count, len(records))).astype(int)]
    pixels = np.stack([require_image(record.path, view.preprocess).pixels for record in chosen])
    levels = backbone.extractor.extract(pixels[:2])
    engine = ScoringEngine(backbone.artefact, "cpu", threads=1)
    scores, maps = {}, {}
    for name in learners:
        head = make_learner(name.value, backbone.spec, seed=0).adapt(view.support, seed=0)
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "head.onnx"
            export_head(head, [torch.from_numpy(level) for level in levels], path)
            engine.add_head(name.value, path)
            parity = check_parity(backbone.module, head, engine, name.value, pixels)
        scores[name.value], maps[name.value] = parity.max_score_error, parity.max_map_error
    what = "real" if lines is not None else "generated"
    worst = max(maps, key=maps.__getitem__)
    return {"parity_max_score": max(scores.values()), "parity_max_map": max(maps.values())}, [
        f"{len(learners)} of {len(LearnerName)} learners, untrained, {len(chosen)} {what} images; worst map: {worst}."
    ]


if __name__ == "__main__":
    one_process(Path(sys.argv[1]), Path(sys.argv[2]))
