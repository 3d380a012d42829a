"""The plant's engine: one backbone session shared by every line, and a small head session a line. Torch-free.

Shape letters: B images, H x W pixels (anomaly map: the finest grid), C channels, h x w the coarsest grid.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.backbone_artefact import read_checked
from deploy.engine.batches import is_out_of_memory, padded
from deploy.engine.devices import ResolvedDevice, open_session
from deploy.engine.extractor import OrtExtractor
from deploy.engine.joined_tiles import TILES_AT_ONCE, TILES_IN_FLIGHT, joined_score
from deploy.engine.loaded_head import LoadedHead, run_heads
from deploy.engine.scores import (
    HEAD_OUTPUTS,
    SUPPORT_DISTANCE,
    TILE,
    HeadRun,
    ImageScore,
    Scores,
    in_order,
)
from pipeline.errors import BundleError, DeviceError
from pipeline.features import BackboneArtefact, BackboneSpec, Levels
from pipeline.settings import Device
from pipeline.tile_grid import TileGrid
from pipeline.tiled_extractor import TiledExtractor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _HeadFile:
    path: Path
    sha256: str
    tiles: TileGrid | None


class ScoringEngine:
    """Scores images of any number of lines in one process. Safe to call from many threads; scoring takes no lock, but
    of tiles on an accelerator a few batches run at a time.

    Args:
        artefact: the backbone all lines share.
        device: where to run; never falls back.
        threads: CPU threads of one operator; with one worker thread a CPU, 1 is fastest.
        max_heads: how many head sessions stay open; the one unused for longest is closed and reopened when needed.
        batch: images that the backbone takes at once; None: on the CPU 1, as a batch is slower there than its images
            and mixed sizes grow the session's memory; elsewhere a call's images together. Out of memory halves it.
    """

    def __init__(
        self,
        artefact: BackboneArtefact,
        device: Device | str | ResolvedDevice = Device.AUTO,
        threads: int = 1,
        *,
        max_heads: int = 256,
        batch: int | None = None,
    ) -> None:
        if max_heads < 1:
            raise ValueError(f"expected max_heads of at least 1, got {max_heads}")
        self.extractor = OrtExtractor(artefact, device, threads)
        self._threads = threads
        self._max_heads = max_heads
        self._batch = batch if batch is not None or self.device.device is not Device.CPU else 1
        at_once = nullcontext() if self._batch == 1 else threading.BoundedSemaphore(TILES_IN_FLIGHT)
        self._tiles_turn: AbstractContextManager[Any] = at_once
        self._files: dict[str, _HeadFile] = {}
        self._loaded: dict[str, LoadedHead] = {}
        self._clock = itertools.count(1)
        self._lock = threading.Lock()  # guards loading, eviction and the batch, never scoring

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

    def add_head(self, name: str, path: Path, sha256: str | None = None, *, tiles: TileGrid | None = None) -> None:
        """Register a head, or swap the one of that name; calls that already run finish on the old one.

        Args:
            name: what `score` calls it.
            path: its `head.onnx`.
            sha256: what the file must hash to; None records what it hashes to now.
            tiles: that it sees images as, which then come as large as the grid's canvas; None: whole.

        Raises:
            BundleError: missing, another hash, or made for another backbone.
        """
        model = read_checked(path, sha256, "use an intact bundle, or adapt the line again")
        file = _HeadFile(path, sha256 or hashlib.sha256(model).hexdigest(), tiles)
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
        """Score uint8 RGB images (B, H, W, 3) with the head `name`: at the backbone's size, or at its tiles' canvas's.

        Raises:
            KeyError: no such head was added.
            ValueError: not uint8, or of another shape.
            BundleError: the head had been closed and its file changed since.
        """
        return self.score_mixed([name] * len(images_BHWC), images_BHWC)

    def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8]) -> Scores:
        """Score images of several lines together: the backbone once for all, then each line's head on its rows.

        Args:
            names: the head of each image, in any order.
            images_BHWC: uint8 RGB (B, H, W, 3); those beyond `names` only fill the batch and are not scored.

        Returns:
            The scores of the named images, in their order. A head that is swapped meanwhile does not split a call.

        Raises:
            KeyError: no such head was added.
            ValueError: not uint8, of another shape, or more names than images.
            BundleError: a head had been closed and its file changed since.
            DeviceError: the device has not memory enough for one image.
        """
        heads = {name: self._head(name) for name in dict.fromkeys(names)}
        if any(head.tiles is not None for head in heads.values()):
            named = zip(names, images_BHWC[: len(names)], strict=True)
            return Scores(self._score_image(heads, name, image) for name, image in named)
        return self._score_whole(heads, names, images_BHWC)

    def _score_whole(
        self,
        heads: Mapping[str, LoadedHead],
        names: Sequence[str],
        images_BHWC: NDArray[np.uint8],
        tile: NDArray[np.int64] | None = None,
    ) -> Scores:
        """`score_mixed` of images, or of one line's tiles of these numbers (B,), at the backbone's size."""
        images = self.extractor.checked(images_BHWC)
        if not 0 < len(names) <= len(images):
            raise ValueError(f"expected 1..{len(images)} names for as many images, got {len(names)}")
        order = sorted(range(len(names)), key=names.__getitem__)  # a line's rows side by side
        if order != list(range(len(names))):
            images = images[order]
        runs: list[HeadRun] = []
        start = 0
        while start < len(names):
            step = min(self._batch or len(images_BHWC), len(images_BHWC))
            rows = order[start : start + step]
            try:
                levels = self.extractor.run(padded(images[start : start + step], step))  # stays on the device
                of_rows = None if tile is None else padded(tile[start : start + step], step)
                runs += list(run_heads(heads, [names[row] for row in rows], levels, of_rows))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(step, error)
            else:
                start += step
        return in_order(runs, order)

    def _score_image(self, heads: Mapping[str, LoadedHead], name: str, image_HWC: NDArray[np.uint8]) -> ImageScore:
        """Score one image, as tiles if its head sees it so: a few of them at a time."""
        if (tiles := heads[name].tiles) is None:
            return self._score_whole(heads, [name], image_HWC[None])[0]
        if image_HWC.shape != (*tiles.canvas, 3):
            raise ValueError(f"expected an image of {(*tiles.canvas, 3)} for tiles, got {image_HWC.shape}")
        step, scores, parts = self._batch or TILES_AT_ONCE, list[ImageScore](), tiles.cut(image_HWC)
        numbers = np.arange(len(parts))
        for start in range(0, len(parts), step):
            few = parts[start : start + step]
            of_few, pixels = padded(numbers[start : start + step], step), padded(np.stack(few), step)
            with self._tiles_turn:
                scores += self._score_whole(heads, [name] * len(few), pixels, of_few)
        return joined_score(tiles, scores)

    def features(self, image_HWC: NDArray[np.uint8], tiles: TileGrid | None = None) -> Levels:
        """What the backbone sees in one image at its size, float32 (1, C, h, w) a level; for the few that ask.

        `tiles`: that the image is seen as; their features are below one another.

        Raises:
            ValueError: not uint8, or of another shape.
        """
        extractor = self.extractor if tiles is None else TiledExtractor(self.extractor, tiles)
        return extractor.extract(image_HWC[None])

    def _halve(self, step: int, error: Exception) -> None:
        """Take smaller batches from now on; the other threads do, too.

        Raises:
            DeviceError: one image is too much already.
        """
        if step == 1:
            raise DeviceError(
                f"{self.device.device} memory for one image", str(error).strip()[:300], "free its memory or use cpu"
            ) from error
        with self._lock:
            if self._batch is None or self._batch >= step:  # else another thread was faster
                self._batch = step // 2
                log.warning("%s has no memory for %d images at once: %d now", self.device.device, step, self._batch)

    def _head(self, name: str) -> LoadedHead:
        head = self._loaded.get(name) or self._reopen(name)
        head.last_used = next(self._clock)
        return head

    def _reopen(self, name: str) -> LoadedHead:
        with self._lock:
            if (head := self._loaded.get(name)) is not None:  # another thread was faster
                return head
            file = self._files.get(name)
            if file is None:
                raise KeyError(f"no head {name!r}; added are {', '.join(self._files) or 'none'}")
            head = self._open(file, read_checked(file.path, file.sha256, "roll back or adapt the line again"))
            self._insert(name, head)
            return head

    def _insert(self, name: str, head: LoadedHead) -> None:
        head.last_used = next(self._clock)
        self._loaded[name] = head
        while len(self._loaded) > self._max_heads:
            del self._loaded[min(self._loaded, key=lambda other: self._loaded[other].last_used)]

    def _open(self, file: _HeadFile, model: bytes) -> LoadedHead:
        session = open_session(model, self.device, threads=self._threads)
        for node in session.get_inputs():
            expected = {
                f"level_{i}": [level.channels, level.height, level.width] for i, level in enumerate(self.spec.levels)
            } | ({} if file.tiles is None else {TILE: []})
            if expected.get(node.name) != list(node.shape[1:]):
                raise BundleError(
                    expected=f"a head for {self.spec.name} with inputs {expected}",
                    got=f"{node.name} {node.shape[1:]} in {file.path.name}",
                    remedy="use the backbone that the head was adapted with",
                )
        found = tuple(node.name for node in session.get_outputs())
        if found not in (HEAD_OUTPUTS, (*HEAD_OUTPUTS, SUPPORT_DISTANCE)):
            raise BundleError(
                expected=f"a head with outputs {HEAD_OUTPUTS}",
                got=f"{found} in {file.path.name}",
                remedy="export it again",
            )
        return LoadedHead(session, self.device, file.tiles)
