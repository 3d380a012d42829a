"""An open head: its session, run on rows of a batch where they lie. Torch-free."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from deploy.engine.batches import bind_rows, row_window
from deploy.engine.devices import ResolvedDevice
from deploy.engine.scores import HEAD_OUTPUTS, SCORE_COVERS_MAP, SUPPORT_DISTANCE, TILE, HeadRun, LeftInPlace
from pipeline.settings import Device
from pipeline.tile_grid import TileGrid


class LoadedHead:
    """An open head session; `tiles` are what it sees images as, None: whole ones.

    `last_used` is written without a lock: a lost update only ages a head a little.
    """

    __slots__ = ("_asks_tile", "_covers_map", "_has_distance", "_inputs", "_memory", "_session", "last_used", "tiles")

    def __init__(self, session: ort.InferenceSession, device: ResolvedDevice, tiles: TileGrid | None) -> None:
        self.tiles = tiles
        self._session = session
        self._memory = device.memory
        names = [node.name for node in session.get_inputs()]
        self._inputs = [(name, int(name.removeprefix("level_"))) for name in names if name != TILE]
        self._asks_tile = TILE in names
        promised = SCORE_COVERS_MAP in session.get_modelmeta().custom_metadata_map
        self._covers_map = promised and device.device is not Device.TENSORRT
        self._has_distance = any(node.name == SUPPORT_DISTANCE for node in session.get_outputs())
        self.last_used = 0

    def run(
        self, levels: Sequence[ort.OrtValue], start: int, count: int, tile: NDArray[np.int64] | None = None
    ) -> HeadRun:
        """Rows [start, start + count), which are read where they lie; only the scores come to the CPU.

        `tile`: which tile each row is of, for a head that asks.
        """
        first, size = row_window(start, count, levels[0].shape()[0])
        binding = self._session.io_binding()  # one a call, so that threads share the session and nothing else
        for name, level in self._inputs:
            bind_rows(binding, name, levels[level], first, size)
        if self._asks_tile:
            assert tile is not None, "heads of tiles are shown tiles"
            binding.bind_cpu_input(TILE, tile[first : first + size])
        score, *others = HEAD_OUTPUTS
        binding.bind_output(score, "cpu")
        for name in others:  # unnamed memory of the arena, which gives it out again: after a few batches none is new
            binding.bind_output(name, self._memory)
        if self._has_distance:
            binding.bind_output(SUPPORT_DISTANCE, "cpu")
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        rows = slice(start - first, start - first + count)
        scores, anomaly_map, nearest, *distances = binding.get_outputs()
        return HeadRun(
            cast("NDArray[np.float32]", scores.numpy())[rows],
            LeftInPlace(anomaly_map, rows),
            LeftInPlace(nearest, rows),
            self._covers_map,
            cast("NDArray[np.float32]", distances[0].numpy())[rows] if distances else None,
        )


def run_heads(
    heads: Mapping[str, LoadedHead],
    names: Sequence[str],
    levels: Sequence[ort.OrtValue],
    tile: NDArray[np.int64] | None = None,
) -> Iterator[HeadRun]:
    """Each line's head on its rows, which lie side by side; `tile` as `LoadedHead.run` has it."""
    start = 0
    for name, group in itertools.groupby(names):
        count = sum(1 for _ in group)
        yield heads[name].run(levels, start, count, tile)
        start += count
