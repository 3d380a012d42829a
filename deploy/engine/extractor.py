"""The backbone's session: images in, feature levels out, left in the device's memory. Torch-free."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from deploy.engine.backbone_artefact import read_checked
from deploy.engine.devices import ResolvedDevice, open_session, resolve_device
from deploy.engine.limits import available_cpus
from pipeline.errors import BundleError
from pipeline.features import BackboneArtefact, BackboneSpec, Levels
from pipeline.settings import Device

BACKBONE_INPUT = "images"


class OrtExtractor:
    """An exported backbone as a `FeatureExtractor`. Safe to call from many threads.

    Args:
        artefact: from `load_backbone_artefact`; the graph's bytes are hashed again as they are loaded.
        device: where to run; never falls back.
        threads: CPU threads of one operator; None takes all available CPUs.
    """

    def __init__(
        self, artefact: BackboneArtefact, device: Device | str | ResolvedDevice = Device.CPU, threads: int | None = None
    ) -> None:
        self.device = device if isinstance(device, ResolvedDevice) else resolve_device(device)
        self._spec = artefact.spec
        model = read_checked(artefact.onnx_path, artefact.onnx_sha256, "export the backbone again")
        self._session = open_session(model, self.device, threads=threads or available_cpus())
        self._outputs = tuple(f"level_{i}" for i in range(len(artefact.spec.levels)))
        found = tuple(node.name for node in self._session.get_outputs())
        if found != self._outputs:
            raise BundleError(
                expected=f"a graph with outputs {self._outputs}", got=str(found), remedy="export it again"
            )

    @property
    def spec(self) -> BackboneSpec:
        """What this extractor computes."""
        return self._spec

    def extract(self, images_BHWC: NDArray[np.uint8]) -> Levels:
        """Features of uint8 RGB images (B, H, W, 3) at the spec's size; level l is float32 (B, C_l, h_l, w_l).

        On the CPU the images run one by one: there a batch is slower than its images, and mixed batch sizes grow the
        session's memory.

        Raises:
            ValueError: not uint8, or of another shape.
        """
        images = self.checked(images_BHWC)
        step = 1 if self.device.device is Device.CPU else len(images)
        chunks = [self.run(images[start : start + step]) for start in range(0, len(images), step)]
        return [np.concatenate([chunk[level].numpy() for chunk in chunks]) for level in range(len(self._outputs))]

    def checked(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images in one piece of memory; no copy where they are.

        Raises:
            ValueError: not uint8, of another shape, or none.
        """
        height, width = self._spec.height, self._spec.width
        shape = tuple(images_BHWC.shape)
        if images_BHWC.dtype != np.uint8 or len(shape) != 4 or shape[1:] != (height, width, 3):
            raise ValueError(f"expected uint8 images (B, {height}, {width}, 3), got {images_BHWC.dtype} {shape}")
        if len(images_BHWC) == 0:
            raise ValueError("expected at least one image, got an empty batch")
        return np.ascontiguousarray(images_BHWC)

    def run(self, images_BHWC: NDArray[np.uint8]) -> list[ort.OrtValue]:
        """The levels of one checked batch, left in the device's memory."""
        value = ort.OrtValue.ortvalue_from_numpy(images_BHWC, self.device.memory, 0)
        binding = self._session.io_binding()  # one a call, so that threads share the session and nothing else
        binding.bind_ortvalue_input(BACKBONE_INPUT, value)
        for name in self._outputs:
            binding.bind_output(name, self.device.memory)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return list(binding.get_outputs())
