"""Pictures for a browser: an image that the store knows, decoded as scoring decodes it, as a JPEG of bounded size.

A file is opened by the path in its result's row alone, never by one from a request, and shown only where it still has
the content that was scored: a camera may use a name again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from deploy.bundles.manifest import BundleManifest
from deploy.bundles.registry import Registry
from deploy.reports.overlay import encode_jpeg, shrink
from deploy.results.schema import ResultRow
from pipeline.errors import ImageError, LinewiseError
from pipeline.imaging.bayer import demosaiced
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, open_image, read_file, to_native

LONGEST_SIDE = 1600
"""Of a picture, in pixels: what a tablet shows of it when it is zoomed to twice its size."""
_QUALITY = 88
_KEPT = 24  # pictures in memory: of the questions that wait, and of those that were answered just now
_AT_ONCE = 2  # images decoded at a time: one may take hundreds of megabytes
_NATIVE = PreprocessSpec(height=1, width=1)  # of a bundle that is not in the registry: 8 bits as they are


@dataclass(frozen=True)
class Picture:
    """An image as it is shown.

    Args:
        jpeg: None where it cannot be shown.
        size: (height, width) of the upright image, in pixels.
        problem: why it cannot be shown.
    """

    jpeg: bytes | None
    size: tuple[int, int] | None
    problem: str | None = None


class PictureShelf:
    """Makes pictures and keeps the last of them. Its methods may be called from any thread.

    Args:
        registry: says how a line's camera is read.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._manifests: dict[tuple[str, str], BundleManifest | None] = {}
        self._lock, self._decoding = threading.Lock(), threading.Semaphore(_AT_ONCE)

    def picture(self, result: ResultRow) -> Picture:
        """The image that a result is of."""
        with self._lock:
            if (kept := self._kept.get(result.id)) is not None:
                self._kept.move_to_end(result.id)
                return kept
        with self._decoding:
            made = self._make(result)
        if made.jpeg is not None:  # what cannot be shown may be there again
            with self._lock:
                self._kept[result.id] = made
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def _make(self, result: ResultRow) -> Picture:
        file = read_file(Path(result.image_path))
        if isinstance(file, UnreadableImage):
            return Picture(None, None, f"The image's file cannot be read: {file.reason}")
        if file.sha256 != result.image_sha256:
            return Picture(None, None, "The file's name was used again: another image lies there now.")
        camera = self._camera(result)
        try:
            encoded = demosaiced(open_image(file.data), camera.bayer)
            pixels = to_native(encoded, encoded.decode(0, 0), camera.white_level)
        except ImageError as error:
            return Picture(None, None, f"The image cannot be decoded: {error}")
        height, width = pixels.shape[:2]
        return Picture(encode_jpeg(shrink(pixels, LONGEST_SIDE), quality=_QUALITY), (height, width))

    def _camera(self, result: ResultRow) -> PreprocessSpec:
        """How the bundle that scored reads the line's camera."""
        manifest = self.manifest(result)
        return _NATIVE if manifest is None else manifest.preprocess

    def manifest(self, result: ResultRow) -> BundleManifest | None:
        """Of the bundle that scored; None where the registry has it no more."""
        key = (result.line, result.bundle_version)
        if key not in self._manifests:
            try:
                records = self._registry.versions(result.line)
            except LinewiseError:
                return None
            manifests = {record.version: record.manifest for record in records}
            self._manifests[key] = manifests.get(result.bundle_version)
        return self._manifests[key]


def heat_map(result: ResultRow) -> bytes | None:
    """The JPEG of the image under its heat map, as scoring drew it; None: it drew none, or it has gone."""
    if result.overlay_path is None:
        return None
    path = Path(result.overlay_path)
    if path.name != f"{result.image_sha256}.jpg":  # as scoring names them
        return None
    file = read_file(path)
    if isinstance(file, UnreadableImage):
        return None
    try:
        return file.data if open_image(file.data).format == "JPEG" else None
    except ImageError:
        return None
