"""The plant's engine: one backbone session shared by every line, and a small head session a line. Torch-free.

Shape letters: B images, H x W pixels (anomaly map: the finest grid), C channels, h x w the coarsest grid.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from deploy.engine.backbone_artefact import load_backbone_artefact, read_checked
from deploy.engine.devices import Device, ResolvedDevice, available_cpus, open_session, resolve_device
from pipeline.errors import BundleError
from pipeline.features import BackboneArtefact, BackboneSpec, Levels

__all__ = [
    "HEAD_OUTPUTS",
    "Device",
    "OrtExtractor",
    "ResolvedDevice",
    "Scores",
    "ScoringEngine",
    "available_cpus",
    "load_backbone_artefact",
    "resolve_device",
]

BACKBONE_INPUT = "images"
HEAD_OUTPUTS = ("image_score", "anomaly_map", "nearest")


class Scores(NamedTuple):
    """What a head says about B images.

    image_score: (B,) float32, higher is more anomalous. anomaly_map: (B, H, W) float32 on the finest grid.
    nearest: (B, h, w) int64, for each cell of the coarsest grid the row of the bank it was compared with.
    """

    image_score: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    nearest: NDArray[np.int64]


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
        chunks = [self.run(chunk) for chunk in self.chunks(images_BHWC)]
        return [np.concatenate([chunk[level].numpy() for chunk in chunks]) for level in range(len(self._outputs))]

    def chunks(self, images_BHWC: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The validated batch as it should be run on this device: image by image on the CPU, whole elsewhere."""
        height, width = self._spec.height, self._spec.width
        shape = tuple(images_BHWC.shape)
        if images_BHWC.dtype != np.uint8 or len(shape) != 4 or shape[1:] != (height, width, 3):
            raise ValueError(f"expected uint8 images (B, {height}, {width}, 3), got {images_BHWC.dtype} {shape}")
        if len(images_BHWC) == 0:
            raise ValueError("expected at least one image, got an empty batch")
        images = np.ascontiguousarray(images_BHWC)
        if self.device.device is Device.CPU:
            return [images[i : i + 1] for i in range(len(images))]
        return [images]

    def run(self, images_BHWC: NDArray[np.uint8]) -> list[ort.OrtValue]:
        """The levels of one chunk, left in the device's memory."""
        value = ort.OrtValue.ortvalue_from_numpy(images_BHWC, self.device.memory, 0)
        return _run_bound(self._session, {BACKBONE_INPUT: value}, self._outputs, self.device.memory)


@dataclass(frozen=True)
class _HeadFile:
    path: Path
    sha256: str


class _LoadedHead:
    """An open head session. `last_used` is written without a lock: a lost update only ages a head a little."""

    __slots__ = ("file", "last_used", "session")

    def __init__(self, file: _HeadFile, session: ort.InferenceSession) -> None:
        self.file = file
        self.session = session
        self.last_used = 0


class ScoringEngine:
    """Scores images of any number of lines in one process. Safe to call from many threads; scoring takes no lock.

    Args:
        artefact: the backbone all lines share.
        device: where to run; never falls back.
        threads: CPU threads of one operator; with one worker thread a CPU, 1 is fastest.
        max_heads: how many head sessions stay open; the one unused for longest is closed and reopened when needed.
    """

    def __init__(
        self,
        artefact: BackboneArtefact,
        device: Device | str | ResolvedDevice = Device.AUTO,
        threads: int = 1,
        *,
        max_heads: int = 64,
    ) -> None:
        if max_heads < 1:
            raise ValueError(f"expected max_heads of at least 1, got {max_heads}")
        self.extractor = OrtExtractor(artefact, device, threads)
        self._threads = threads
        self._max_heads = max_heads
        self._files: dict[str, _HeadFile] = {}
        self._loaded: dict[str, _LoadedHead] = {}
        self._clock = itertools.count(1)
        self._lock = threading.Lock()  # guards loading and eviction, never scoring

    @property
    def spec(self) -> BackboneSpec:
        """The backbone's spec."""
        return self.extractor.spec

    @property
    def device(self) -> ResolvedDevice:
        """What the sessions run on."""
        return self.extractor.device

    @property
    def heads(self) -> tuple[str, ...]:
        """Names that can be scored."""
        return tuple(self._files)

    def add_head(self, name: str, path: Path, sha256: str | None = None) -> None:
        """Register a head, or swap the one of that name; calls that already run finish on the old one.

        Args:
            name: what `score` calls it.
            path: its `head.onnx`.
            sha256: what the file must hash to; None records what it hashes to now.

        Raises:
            BundleError: missing, another hash, or made for another backbone.
        """
        model = read_checked(path, sha256, "use an intact bundle, or adapt the line again")
        file = _HeadFile(path, sha256 or hashlib.sha256(model).hexdigest())
        head = self._open(file, model)
        with self._lock:
            self._files[name] = file
            self._insert(name, head)

    def remove_head(self, name: str) -> None:
        """Forget a head; unknown names are forgotten already."""
        with self._lock:
            self._files.pop(name, None)
            self._loaded.pop(name, None)

    def score(self, name: str, images_BHWC: NDArray[np.uint8]) -> Scores:
        """Score uint8 RGB images (B, H, W, 3) at the backbone's size with the head `name`.

        Raises:
            KeyError: no such head was added.
            ValueError: not uint8, or of another shape.
            BundleError: the head had been closed and its file changed since.
        """
        head = self._loaded.get(name) or self._reopen(name)
        head.last_used = next(self._clock)
        parts: list[list[NDArray[np.generic]]] = []
        for chunk in self.extractor.chunks(images_BHWC):
            levels = self.extractor.run(chunk)  # stays on the device
            inputs = {f"level_{i}": value for i, value in enumerate(levels)}
            used = {node.name: inputs[node.name] for node in head.session.get_inputs()}
            parts.append([value.numpy() for value in _run_bound(head.session, used, HEAD_OUTPUTS, "cpu")])
        score, anomaly_map, nearest = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Scores(
            cast("NDArray[np.float32]", score),
            cast("NDArray[np.float32]", anomaly_map),
            cast("NDArray[np.int64]", nearest),
        )

    def _reopen(self, name: str) -> _LoadedHead:
        with self._lock:
            if (head := self._loaded.get(name)) is not None:  # another thread was faster
                return head
            file = self._files.get(name)
            if file is None:
                raise KeyError(f"no head {name!r}; added are {', '.join(self._files) or 'none'}")
            head = self._open(file, read_checked(file.path, file.sha256, "roll back or adapt the line again"))
            self._insert(name, head)
            return head

    def _insert(self, name: str, head: _LoadedHead) -> None:
        head.last_used = next(self._clock)
        self._loaded[name] = head
        while len(self._loaded) > self._max_heads:
            del self._loaded[min(self._loaded, key=lambda other: self._loaded[other].last_used)]

    def _open(self, file: _HeadFile, model: bytes) -> _LoadedHead:
        session = open_session(model, self.device, threads=self._threads)
        for node in session.get_inputs():
            expected = {
                f"level_{i}": [level.channels, level.height, level.width] for i, level in enumerate(self.spec.levels)
            }
            if expected.get(node.name) != list(node.shape[1:]):
                raise BundleError(
                    expected=f"a head for {self.spec.name} with inputs {expected}",
                    got=f"{node.name} {node.shape[1:]} in {file.path.name}",
                    remedy="use the backbone that the head was adapted with",
                )
        if (found := tuple(node.name for node in session.get_outputs())) != HEAD_OUTPUTS:
            raise BundleError(
                expected=f"a head with outputs {HEAD_OUTPUTS}",
                got=f"{found} in {file.path.name}",
                remedy="export it again",
            )
        return _LoadedHead(file, session)


def _run_bound(
    session: ort.InferenceSession, inputs: dict[str, ort.OrtValue], outputs: tuple[str, ...], memory: str
) -> list[ort.OrtValue]:
    """Run with IO binding: inputs stay where they are, outputs are left in `memory`.

    One binding a call, so that threads share the session and nothing else.
    """
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, memory)
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    return list(binding.get_outputs())
