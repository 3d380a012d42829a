"""What int8 does to the scores and the speed of real lines, as `linewise export --int8` makes it and otherwise.

    python -m benchmarks.int8 LINES --lines mvtec/pill,otx_hazelnut/hazelnut [--write]

Each line is adapted (auto, 256 px, 8 good and 4 defective images). Its other images then go through the gate: every
image is scored in float32 and in int8 in turn, on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.pages import made_today, replace_figures
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.engine.extractor import OrtExtractor
from deploy.engine.runtime import ScoringEngine
from deploy.exporting import int8 as quantiser
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.export.int8_gate import gate_images, judge
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from pipeline.features import DEFAULT_BACKBONE, BackboneArtefact
from pipeline.head_calibration import calibrate_head
from pipeline.imaging.images import require_image
from pipeline.precision_gate import Comparison, compare
from pipeline.process_tuning import tune_process
from pipeline.product_lines.lines import ImageRecord, ProductLine, load_named_line
from pipeline.settings import Settings, load_settings
from pipeline.storage import sha256_file

SIZE = 256
FEWER = 3
ROUNDS = 40
PAGE = Path(__file__).with_name("int8.md")
HEAD = (
    "| line | int8 | image AUROC, float32 / int8 | rank correlation | decisions changed | good scores moved, sd | "
    "largest, sd | float32 / int8 time | gate |\n|---|---|---|---|---|---|---|---|---|"
)


@contextmanager
def float_convolutions(count: int) -> Iterator[None]:
    kept = quantiser.FLOAT_CONVOLUTIONS
    quantiser.FLOAT_CONVOLUTIONS = count
    try:
        yield
    finally:
        quantiser.FLOAT_CONVOLUTIONS = kept


def quantised(artefact: BackboneArtefact, images: NDArray[np.uint8], root: Path) -> BackboneArtefact:
    return quantiser.quantise_backbone(artefact, images, Path(tempfile.mkdtemp(dir=root)))


def support_of(line: ProductLine, deployment: Deployment) -> tuple[list[ImageRecord], list[ImageRecord]]:
    support = deployment.bundle.manifest.support
    good = {sha256_file(record.path): record for record in line.train_good}
    defects = {sha256_file(record.path): record for record in line.defects}
    return [good[name] for name in support.good], [defects[name] for name in support.defects]


def adapted_anew(
    line: ProductLine, deployment: Deployment, opened: OpenBackbone, int8: BackboneArtefact, gate: list[ImageRecord]
) -> Comparison:
    """The line adapted on int8 features from the same support, with a threshold of its own.

    Its scores are moved by the difference of the two thresholds, so that both decide at the stored one.
    """
    manifest = deployment.bundle.manifest
    good, defects = support_of(line, deployment)
    backbone = OpenBackbone(opened.module, int8, OrtExtractor(int8, "cpu", threads=1))
    view = view_of(backbone, good, defects, white_level=manifest.preprocess.white_level, seed=0)
    head = adapt_to_best(make_learner(manifest.learner.name, opened.spec, seed=0), [view], seed=0).head
    threshold = calibrate_head(head, view.support, manifest.threshold.target_false_reject_rate, None)
    images = np.stack([require_image(record.path, manifest.preprocess).pixels for record in gate])
    with torch.inference_mode():
        levels = [torch.from_numpy(level) for level in backbone.extractor.extract(images)]
        after = [float(head(*(level[i : i + 1] for level in levels)).image_score) for i in range(len(images))]
    before = float_scores(deployment, images)
    moved = np.array(after) + manifest.threshold.reject - threshold.reject
    decide = manifest.threshold.decide  # the head is not exported, so no bundle could judge
    changed = sum(decide(float(a)) is not decide(float(b)) for a, b in zip(before, moved, strict=True))
    return compare(before, moved, np.array([record.is_defect for record in gate]), decisions_changed=changed)


def float_scores(deployment: Deployment, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = ScoringEngine(deployment.backbone, "cpu", threads=1)
    engine.add_head("line", deployment.bundle.head_path, deployment.bundle.head_sha256)
    return engine.score("line", images).image_score


def row(line: str, variant: str, found: Comparison, speedup: float | None) -> str:
    auroc = f"{100 * found.auroc_float32:.2f} / {100 * found.auroc_int8:.2f}"
    changed = f"{found.decisions_changed} of {found.good + found.defects}"
    took = "" if speedup is None else f"{speedup:.2f}"
    verdict = "passes" if found.passes else "refuses"
    return (
        f"| {line} | {variant} | {auroc} | {found.rank_correlation:.3f} | {changed} | {found.good_shift:+.2f} | "
        f"{found.largest_difference:.2f} | {took} | {verdict} |"
    )


def rows_of(name: str, line: ProductLine, settings: Settings, root: Path) -> Iterator[str]:
    request = AdaptRequest(line=name, images=line.root, size=SIZE, good=8, defects=4)
    version = adapt.run(request, settings).bundle.manifest.version
    deployment = Registry(settings.home).deployment(name, version)
    opened = open_backbone(DEFAULT_BACKBONE, SIZE, settings)
    good, defects = gate_images(line, deployment.bundle.manifest.support)
    gate = [*good, *defects]
    generated = quantiser.calibration_images(deployment.backbone.spec)
    shipped = quantised(deployment.backbone, generated, root)
    yield row(name, "as exported", *judge(deployment, shipped, gate))
    preprocess = deployment.bundle.manifest.preprocess
    own = np.stack([require_image(record.path, preprocess).pixels for record in support_of(line, deployment)[0]])
    yield row(
        name, "calibrated on its good support", *judge(deployment, quantised(deployment.backbone, own, root), gate)
    )
    with float_convolutions(FEWER):
        fewer = quantised(deployment.backbone, generated, root)
    yield row(name, f"{FEWER} convolutions in float32", *judge(deployment, fewer, gate))
    yield row(name, "adapted anew on int8 features", adapted_anew(line, deployment, opened, shipped, gate), None)


def backbone_times(settings: Settings, root: Path) -> str:
    """Backbone alone on generated images, in turn; the median of the rounds' ratios."""
    artefact = open_backbone(DEFAULT_BACKBONE, SIZE, settings).artefact
    images = quantiser.calibration_images(artefact.spec)
    artefacts = (artefact, quantised(artefact, images, root))
    sides = [OrtExtractor(side, "cpu", threads=1) for side in artefacts]
    ratios = []
    for index in range(ROUNDS):
        image = images[index % len(images)][None]
        times = [time.perf_counter()]
        for side in sides:
            side.extract(image)
            times.append(time.perf_counter())
        ratios.append((times[1] - times[0]) / (times[2] - times[1]))
    sizes = [side.onnx_path.stat().st_size / 2**20 for side in artefacts]
    return (
        f"{DEFAULT_BACKBONE} at {SIZE} px alone: float32 takes {statistics.median(ratios):.2f} times as long as int8 "
        f"(median of {ROUNDS} images, one thread); its file has {sizes[0]:.1f} MiB in float32, {sizes[1]:.1f} in int8."
    )


def main() -> None:
    tune_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", default="mvtec/pill,otx_hazelnut/hazelnut")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = load_settings(root / "home")
        figures = [HEAD]
        for line_name in options.lines.split(","):
            line = load_named_line(options.folder / line_name, name=line_name, data_set=line_name.split("/")[0])
            for found in rows_of(line_name, line, settings, root):
                print(found, flush=True)
                figures.append(found)
        text = f"{made_today()}, `--lines {options.lines}`, on a busy machine\n\n{chr(10).join(figures)}\n\n"
        text += backbone_times(settings, root)
    print(text)
    if options.write:
        replace_figures(PAGE, text)


if __name__ == "__main__":
    main()
