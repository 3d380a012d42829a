"""anomalib's side of point 2, run by the interpreter of an environment that has anomalib; nothing of Linewise here.

    python anomalib_side.py TRAIN GOOD DEFECT IMAGES WORK ROWS

Fits PatchCore on the good images in TRAIN (GOOD and DEFECT only satisfy its data module), exports it, and prints a line
of JSON. Then each line of standard input names an inferencer (torch, openvino, or onnx for its graph in plain
onnxruntime), and the seconds for all files of IMAGES are the answer.
"""

# pyright: reportMissingImports=false
# anomalib is in the other environment only

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIZE = 256
STRIDE = 8  # of blocks.2, whose grid its bank and its queries have


def fit(
    train: str, good: str, defect: str, work: Path, rows: int, camera: tuple[int, int]
) -> tuple[dict[str, Path], dict[str, float]]:
    """Its exports by the inferencer that runs them, and what fitting cost; `camera` is the files' (height, width)."""
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
    # Its default export is locked to batches of two, and its inferencers give the graph whole images one by one: so the
    # graph is asked for with one image of the camera's size, which it resizes itself.
    for kind in ("openvino", "onnx"):
        paths[kind] = engine.export(
            model=model, export_type=kind, export_root=work, input_size=camera, onnx_kwargs={"dynamic_axes": {}}
        )
    return paths, {"fit_and_export_seconds": seconds, "fit_peak_mb": peak, "bank_rows": len(model.model.memory_bank)}


def predictors(paths: dict[str, Path]) -> dict[str, Callable[[Path], object]]:
    """File to scores and maps, by side."""
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415
    from anomalib.data.utils import read_image  # noqa: PLC0415
    from anomalib.deploy import OpenVINOInferencer, TorchInferencer  # noqa: PLC0415

    session = onnxruntime.InferenceSession(paths["onnx"], providers=["CPUExecutionProvider"])

    def in_onnxruntime(path: Path) -> object:
        image = read_image(path).astype(np.float32).transpose(2, 0, 1)[None]
        return session.run(None, {session.get_inputs()[0].name: image})

    return {
        "torch": TorchInferencer(path=paths["torch"], device="cpu").predict,
        "openvino": OpenVINOInferencer(path=paths["openvino"], device="CPU").predict,
        "onnx": in_onnxruntime,
    }


def main() -> None:
    """Fit, then answer."""
    os.environ["TRUST_REMOTE_CODE"] = "1"  # its Torch inferencer loads a pickle
    from PIL import Image  # noqa: PLC0415

    train, good, defect, images, work, rows = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    files = sorted(Path(images).iterdir())
    width, height = Image.open(files[0]).size
    paths, figures = fit(train, good, defect, Path(work), int(rows), (height, width))
    os.chdir(work)  # the OpenVINO inferencer leaves a cache where it is
    predict = predictors(paths)
    print(json.dumps(figures), file=answers, flush=True)
    for line in sys.stdin:
        side = predict[line.strip()]
        began = time.perf_counter()
        for path in files:
            side(path)
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main()
