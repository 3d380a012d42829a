"""A backbone in int8, quantised by onnxruntime: QDQ, activations U8, weights S8 per channel. Needs onnx.

One for all lines, as the float32 backbone is: calibrated on generated images, so that lines in int8 still share it and
a batch may mix them. Calibrating on a line's own images makes its features hardly nearer to float32's
(`benchmarks/int8.md`), and would clip what good parts never show. Heads stay float32.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from deploy.engine.backbone_artefact import BACKBONE_FORMAT, load_backbone_artefact, read_checked
from deploy.engine.extractor import BACKBONE_INPUT
from pipeline.errors import ConfigError
from pipeline.features import BackboneArtefact, BackboneSpec
from pipeline.storage import write_durably
from pipeline.synthetic.lines import generate_line

FLOAT_CONVOLUTIONS = 6
"""The first so many convolutions stay float32: of EfficientNet-Lite0 the stem and two blocks, the finest resolutions.

Their depthwise convolutions lose most. With three, scoring is 1.3 instead of 1.2 times as fast, and the gate refuses
4 of 11 real lines instead of 1 (`benchmarks/int8.md`)."""

_OPERATORS = ("Conv", "Clip", "Relu", "Add")  # an activation left out would be a stop in float32 after each convolution
_CALIBRATION_SEED = 30_000  # lines that neither the channel standard deviation nor the export's comparison has seen
_CALIBRATION_IMAGES = 16


class _Images(CalibrationDataReader):
    """Hands the images to onnxruntime one by one, as the backbone's own input."""

    def __init__(self, images_BHWC: NDArray[np.uint8]) -> None:
        self._images = iter(images_BHWC)

    def get_next(self) -> dict[str, NDArray[np.uint8]]:  # type: ignore[override]  # the base says dict of anything
        """The next image as a batch of one; None (as the base wants it) after the last."""
        image = next(self._images, None)
        return None if image is None else {BACKBONE_INPUT: image[None]}  # type: ignore[return-value]


def calibration_images(spec: BackboneSpec) -> NDArray[np.uint8]:
    """(16, H, W, 3) uint8 of as many generated lines, every second one defective; the same on every call."""
    images, side = [], max(spec.size)  # generated images are square
    for index in range(_CALIBRATION_IMAGES):
        seed = _CALIBRATION_SEED + index
        line, rng = generate_line(seed, size=side), np.random.default_rng(seed)
        images.append((line.defective(rng) if index % 2 else line.good(rng)).image)
    return np.stack(images)[:, : spec.height, : spec.width]


def quantise_backbone(
    artefact: BackboneArtefact,
    images_BHWC: NDArray[np.uint8],
    folder: Path,
    *,
    float_convolutions: int = FLOAT_CONVOLUTIONS,
) -> BackboneArtefact:
    """Write an int8 backbone, an artefact of its own: its fingerprint is its graph's hash.

    Nothing is compared here: whether a line may use it is for `pipeline.precision_gate` to say.

    Args:
        artefact: the float32 backbone.
        images_BHWC: uint8 images at its size that show the ranges of its activations.
        folder: an existing empty folder.
        float_convolutions: how many of the first convolutions stay float32.

    Raises:
        ConfigError: the backbone has too few convolutions to gain anything.
        BundleError: the backbone is damaged.
        StorageError: the folder cannot be written.
    """
    read_checked(artefact.onnx_path, artefact.onnx_sha256, "export the backbone again")
    with tempfile.TemporaryDirectory(prefix="linewise-int8-") as name:
        prepared, quantised = Path(name) / "prepared.onnx", Path(name) / "int8.onnx"
        quant_pre_process(artefact.onnx_path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _Images(images_BHWC),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=_float_nodes(prepared, artefact.spec.name, float_convolutions),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        content = quantised.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    spec = dataclasses.replace(artefact.spec, fingerprint=sha256[:16])
    manifest = {
        "format_version": BACKBONE_FORMAT,
        "spec": spec.to_json(),
        "onnx_sha256": sha256,
        "int8": {
            "float32_onnx_sha256": artefact.onnx_sha256,
            "float32_convolutions": float_convolutions,
            "calibration_images": len(images_BHWC),
        },
        "made_with": {"onnxruntime": ort.__version__, "onnx": onnx.__version__},
    }
    write_durably(folder / "backbone.onnx", content)
    write_durably(folder / "backbone.json", json.dumps(manifest, indent=2).encode())
    return load_backbone_artefact(folder)


def _float_nodes(model: Path, backbone: str, float_convolutions: int) -> list[str]:
    """Names of the nodes before the first convolution that is quantised; a graph's nodes are in order."""
    nodes = [node for node in onnx.load(model).graph.node if node.op_type in _OPERATORS]
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    if len(convolutions) <= float_convolutions:
        raise ConfigError(
            f"a backbone of more than {float_convolutions} convolutions for int8",
            f"{backbone} with {len(convolutions)}",
            "export in float32: leave --int8 out",
        )
    return [node.name for node in nodes[: convolutions[float_convolutions]]]
