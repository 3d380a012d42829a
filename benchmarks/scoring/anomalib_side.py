"""anomalib's side of point 2, run by the interpreter of an environment that has anomalib; nothing of Linewise here.

    python anomalib_side.py TRAIN GOOD DEFECT IMAGES WORK ROWS

Fits PatchCore on the good images in TRAIN (GOOD and DEFECT only satisfy its data module), exports it, and prints a line
of JSON. Then each line of standard input names an inferencer, and the seconds for all files of IMAGES are the answer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

os.environ["TRUST_REMOTE_CODE"] = "1"  # its Torch inferencer loads a pickle

SIZE = 256
STRIDE = 8  # of blocks.2, whose grid its bank and its queries have


def fit(train: str, good: str, defect: str, work: Path, rows: int) -> tuple[dict[str, Path], dict[str, float]]:
    from anomalib.data import Folder  # noqa: PLC0415
    from anomalib.engine import Engine  # noqa: PLC0415
    from anomalib.models import Patchcore  # noqa: PLC0415

    data = Folder(
        name="bench",
        normal_dir=train,
        normal_test_dir=good,
        abnormal_dir=defect,
        train_batch_size=4,
        eval_batch_size=4,
        num_workers=0,
        val_split_mode="same_as_test",
    )
    images = len(list(Path(train).iterdir()))
    model = Patchcore(
        backbone="tf_efficientnet_lite0",
        layers=("blocks.2", "blocks.4"),
        pre_trained=False,  # weights change no time, and need a network to come by
        coreset_sampling_ratio=rows / (images * (SIZE // STRIDE) ** 2),
        pre_processor=Patchcore.configure_pre_processor((SIZE, SIZE)),
        visualizer=False,
    )
    engine = Engine(default_root_dir=work, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    began = time.perf_counter()
    engine.fit(model=model, datamodule=data)
    paths = {"torch": engine.export(model=model, export_type="torch", export_root=work)}
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    paths["openvino"] = engine.export(model=model, export_type="openvino", export_root=work, input_size=(SIZE, SIZE))
    return paths, {"fit_and_export_seconds": seconds, "fit_peak_mb": peak, "bank_rows": len(model.model.memory_bank)}


def main() -> None:
    train, good, defect, images, work, rows = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    paths, figures = fit(train, good, defect, Path(work), int(rows))
    from anomalib.deploy import OpenVINOInferencer, TorchInferencer  # noqa: PLC0415

    inferencers = {
        "torch": TorchInferencer(path=paths["torch"], device="cpu"),
        "openvino": OpenVINOInferencer(path=paths["openvino"], device="CPU"),
    }
    files = sorted(Path(images).iterdir())
    print(json.dumps(figures), file=answers, flush=True)
    for line in sys.stdin:
        inferencer = inferencers[line.strip()]
        began = time.perf_counter()
        for path in files:
            inferencer.predict(path)
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main()
