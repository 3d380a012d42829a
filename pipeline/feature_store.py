"""Features computed once: a disk cache in front of the backbone, with a bounded memory cache in front of the disk.

An entry is named by everything that decides its values: the image's sha256, the transformation applied to it, how it
was preprocessed, and the backbone's fingerprint. It is kept as float16 with a checksum; a damaged entry is computed
again. What comes out is always float32 *rounded to float16*, freshly computed or not, so that a result never depends
on whether the cache was warm.

Shape letters: N items, H x W pixels, L levels, C channels of a level, h x w its grid.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.features import FeatureExtractor, Levels
from pipeline.imaging.images import PreprocessSpec
from pipeline.storage import make_folder_of, replace_file, storage_error

log = logging.getLogger(__name__)

T = TypeVar("T")
_DIGEST_BYTES = 16
_FLOAT16_MAX = float(np.finfo(np.float16).max)

ImageLoader = Callable[[], NDArray[np.uint8]]
"""Gives the pixels, uint8 RGB (H, W, 3) at the backbone's size; called only when the features are not cached."""


@dataclass(frozen=True)
class FeatureKey:
    """What an image's features depend on, besides the backbone.

    Args:
        image_sha256: of the image file (or of whatever a generated image is made from).
        preprocess: how the file became pixels.
        transform: what was done to the pixels afterwards, for example "plain", "hflip" or "synthetic:7". It must
            name the operation completely, its seed included.
    """

    image_sha256: str
    preprocess: PreprocessSpec
    transform: str = "plain"


class FeatureStore:
    """Features by key, computed where missing. Safe for many threads and processes on one folder.

    Args:
        folder: of the cache; made when it is not there. It can be deleted at any time.
        extractor: computes what is missing.
        memory_bytes: bound of the memory cache (float16 features); the entry unused for longest goes first.
        batch_size: how many images are held and extracted at a time.
    """

    def __init__(
        self, folder: Path, extractor: FeatureExtractor, *, memory_bytes: int = 256 * 1024**2, batch_size: int = 16
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"expected a batch_size of at least 1, got {batch_size}")
        self._extractor = extractor
        self._batch_size = batch_size
        self._folder = folder / extractor.spec.fingerprint
        self._shapes = [(level.channels, level.height, level.width) for level in extractor.spec.levels]
        self._values = sum(int(np.prod(shape)) for shape in self._shapes)
        self._memory = _MemoryCache(memory_bytes)
        make_folder_of(self._folder / "any entry")

    def features(self, items: Sequence[tuple[FeatureKey, ImageLoader]]) -> Levels:
        """Features of all items in their order, level l as float32 (N, C_l, h_l, w_l) of float16 precision.

        Equal keys are computed once. Errors of a loader pass through; what was computed before stays cached.

        Raises:
            StorageError: the cache folder cannot be written.
            ValueError: a loader's image is not what the backbone takes.
        """
        stacked = [np.empty((len(items), *shape), np.float32) for shape in self._shapes]
        missing: OrderedDict[str, tuple[ImageLoader, list[int]]] = OrderedDict()
        for position, (key, loader) in enumerate(items):
            name = self._name(key)
            if name in missing:
                missing[name][1].append(position)
                continue
            flat = self._lookup(name)
            if flat is None:
                missing[name] = (loader, [position])
            else:
                self._place(stacked, position, flat)
        for batch in _batches(list(missing.items()), self._batch_size):
            images = np.stack([self._load(loader) for _, (loader, _) in batch])
            levels = self._extractor.extract(images)
            for row, (name, (_, positions)) in enumerate(batch):
                flat = self._pack([level[row] for level in levels])
                self._write(name, flat)
                self._memory.put(name, flat)
                for position in positions:
                    self._place(stacked, position, flat)
        return stacked

    def path_of(self, key: FeatureKey) -> Path:
        """Where the entry of `key` is kept on disk, whether or not it exists."""
        return self._path(self._name(key))

    def _name(self, key: FeatureKey) -> str:
        prep = key.preprocess
        parts = (key.image_sha256, key.transform, f"{prep.height}x{prep.width}", str(prep.white_level))
        if prep.bayer is not None:  # entries of before have no such part
            parts = (*parts, prep.bayer)
        if prep.alignment is not None:
            parts = (*parts, prep.alignment.key)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.npy"

    def _load(self, loader: ImageLoader) -> NDArray[np.uint8]:
        image = loader()
        spec = self._extractor.spec
        if image.dtype != np.uint8 or image.shape != (spec.height, spec.width, 3):
            raise ValueError(f"expected uint8 ({spec.height}, {spec.width}, 3), got {image.dtype} {image.shape}")
        return image

    def _pack(self, levels: Sequence[NDArray[np.float32]]) -> NDArray[np.float16]:
        # saturate: beyond 65504 a float16 is infinite, and an infinite feature poisons every distance
        parts = [np.clip(level, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16).ravel() for level in levels]
        flat = np.concatenate(parts)
        assert flat.size == self._values, "the extractor gives what its spec says"
        return flat

    def _place(self, stacked: Levels, position: int, flat: NDArray[np.float16]) -> None:
        start = 0
        for level, shape in zip(stacked, self._shapes, strict=True):
            size = int(np.prod(shape))
            level[position] = flat[start : start + size].reshape(shape)
            start += size

    def _lookup(self, name: str) -> NDArray[np.float16] | None:
        flat = self._memory.get(name)
        if flat is None and (flat := self._read(name)) is not None:
            self._memory.put(name, flat)
        return flat

    def _read(self, name: str) -> NDArray[np.float16] | None:
        """The entry on disk; None when there is none, or when it is damaged and has to be computed again."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, path) from error
        body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if _digest(name, body) != digest:
            log.warning("feature cache entry %s is damaged, computing it again", path)
            return None
        flat = np.load(io.BytesIO(body), allow_pickle=False)
        assert flat.dtype == np.float16 and flat.shape == (self._values,), "an intact entry of this fingerprint"
        return flat

    def _write(self, name: str, flat: NDArray[np.float16]) -> None:
        """A reader sees the whole entry or none; writers of one entry write the same."""
        path = self._path(name)
        body = io.BytesIO()
        np.save(body, flat, allow_pickle=False)
        make_folder_of(path)
        replace_file(path, body.getvalue() + _digest(name, body.getvalue()), durable=False)  # it can be computed again


class _MemoryCache:
    """Least recently used entries up to a number of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, NDArray[np.float16]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> NDArray[np.float16] | None:
        """The entry, which becomes the most recently used."""
        with self._lock:
            flat = self._entries.get(name)
            if flat is not None:
                self._entries.move_to_end(name)
            return flat

    def put(self, name: str, flat: NDArray[np.float16]) -> None:
        """Keep an entry; nothing larger than the whole cache is kept."""
        with self._lock:
            if (old := self._entries.pop(name, None)) is not None:
                self._bytes -= old.nbytes
            if flat.nbytes > self._limit:
                return
            self._entries[name] = flat
            self._bytes += flat.nbytes
            while self._bytes > self._limit:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= dropped.nbytes


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _digest(name: str, body: bytes) -> bytes:
    """Checksum of an entry under its name, so that a file copied to another name is not taken for it."""
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES, key=bytes.fromhex(name)).digest()
