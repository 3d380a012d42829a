"""What a worker thread does with a file or frame: decode, score, decide, and draw what was flagged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.bundles.kind_of_image import kind_of_image
from deploy.bundles.verdict import Verdict
from deploy.engine.scores import ImageScore, Scores
from deploy.reports.overlay import overlay_jpeg
from deploy.results.records import StoredScore
from deploy.results.store import ResultStore
from deploy.scoring.display import native_of, native_of_frame
from deploy.scoring.earlier_decisions import TOLD_BEFORE, TOLD_UNREADABLE, EarlierDecisions, is_gone
from deploy.scoring.image_result import FileStatus, ImageResult, ImageView
from deploy.scoring.sources.source import SourceItem
from pipeline.calibration import Decision
from pipeline.errors import ImageError
from pipeline.features import Levels
from pipeline.imaging.images import (
    DecodedImage,
    ImageFile,
    ImageLimits,
    Opener,
    UnreadableImage,
    decode_file,
    decode_frame,
    open_image,
    read_file,
)
from pipeline.imaging.white_level import depth_problem
from pipeline.kinds import SaidKind
from pipeline.likeness import Seen
from pipeline.storage import replace_file, storage_errors
from pipeline.tile_grid import TileGrid


class ImageScorer(Protocol):
    """What scoring needs of an engine, as `deploy.engine.runtime.ScoringEngine` has it. Threads call it together."""

    def score_mixed(self, names: Sequence[str], images_BHWC: NDArray[np.uint8], /) -> Scores:
        """Score uint8 RGB images (B, H, W, 3), each with the head of its name; images beyond them fill the batch."""
        ...

    def features(self, image_HWC: NDArray[np.uint8], tiles: TileGrid | None, /) -> Levels:
        """What the backbone sees in one image, or in its tiles, (1, C, h, w) a level."""
        ...


@dataclass(frozen=True)
class Outcome:
    """An item's result; its view, when it was scored; the row it was found in, when it was skipped.

    `is_news` is False where nothing came: a watched file was not written since it was read before, or since an earlier
    run scored it or could not read it.
    `remark`: what someone should know of the image, equal for all of its kind; told once a run.
    """

    result: ImageResult
    view: ImageView | None = None
    stored: StoredScore | None = None
    is_news: bool = True
    remark: str | None = None


@dataclass(frozen=True)
class Ready:
    """An item that can be scored."""

    item: SourceItem
    sha256: str
    seen: Seen

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3) at model size."""
        return self.seen.pixels


@dataclass(frozen=True, kw_only=True)
class ScoringWorker:
    """Scores files and frames. Holds no state, so that every thread shares one.

    Args:
        bundle: whose preprocessing and threshold hold.
        engine: has the head.
        head: its name there.
        known: where to look for contents scored before; None: nowhere, nothing was.
        overlays: folder for the pictures of flagged images; None: none.
        limits: on the size of images.
        opener: reads a file's header and says how its pixels are decoded.
        of_parts: images are views of parts, see `EarlierDecisions`.
    """

    bundle: Bundle
    engine: ImageScorer
    head: str
    known: ResultStore | None
    overlays: Path | None
    limits: ImageLimits
    opener: Opener = open_image
    of_parts: bool = False

    def prepare(self, item: SourceItem) -> Ready | Outcome:
        """Decode and resize an item; the outcome at once where it has a score already or cannot be used."""
        if item.frame is not None and item.problem is None:
            return self._prepare_frame(item, item.frame)
        if item.data is not None and item.problem is None:
            file = ImageFile(Path(item.name), hashlib.sha256(item.data).hexdigest(), item.data)
        elif item.problem is not None or item.path is None:
            return _unreadable(item, None, item.problem or "expected an image, got neither a file nor a frame")
        else:
            file = self._read(item, item.path)
        if isinstance(file, Outcome):
            return file
        if (skipped := self._known(item, file.sha256)) is not None:
            return skipped
        image = self._decode(file)
        if isinstance(image, UnreadableImage):
            is_told = self._earlier.on_unreadable(item.taking, file.sha256, self.bundle.id)
            told_before = _nothing(item, item.path, file.sha256, remark=TOLD_UNREADABLE)
            return told_before if is_told else _unreadable(item, image.sha256, image.reason)
        seen = Seen(image.pixels, image.source_size, image.colour, image.bit_depth, image.placement)
        return Ready(item, image.sha256, seen)

    def _read(self, item: SourceItem, path: Path) -> ImageFile | Outcome:
        """The file's bytes; the outcome at once where they cannot be read, or are not what a watched folder took."""
        file = read_file(path, self.limits)
        problem = None if item.taking is None else item.taking.problem(path)
        is_lost = problem is not None or (isinstance(file, UnreadableImage) and is_gone(path))
        if is_lost and self._earlier.on_what_is_gone(item.taking, path):
            return _nothing(item, path, None)
        if problem is not None:
            return _unreadable(item, None, problem)
        if isinstance(file, UnreadableImage):
            return _unreadable(item, None, file.reason)
        if item.taking is not None and not item.taking.is_news(file.sha256):
            return _nothing(item, path, file.sha256)
        return file

    @property
    def _earlier(self) -> EarlierDecisions:
        return EarlierDecisions(store=self.known, line=self.bundle.manifest.line, of_parts=self.of_parts)

    def _decode(self, file: ImageFile) -> DecodedImage | UnreadableImage:
        """The image at the model's size, unless its values mean another brightness than those of the line's support."""
        image = decode_file(file, self.bundle.manifest.preprocess, self.limits, self.opener)
        if isinstance(image, UnreadableImage):
            return image
        problem = depth_problem(image.bit_depth, image.brightest, self._white_level)
        return image if problem is None else UnreadableImage(image.path, image.sha256, str(problem))

    @property
    def scores_at_once(self) -> bool:
        """Whether an image is scored as soon as it is decoded: a large one, a batch of tiles itself, waits for none."""
        return self._tiles is not None

    @property
    def _tiles(self) -> TileGrid | None:
        return self.bundle.manifest.tiles

    @property
    def _white_level(self) -> int | None:
        return self.bundle.manifest.preprocess.white_level

    def _prepare_frame(self, item: SourceItem, frame: NDArray[Any]) -> Ready | Outcome:
        # A frame has no file, so what the model sees is its content: equal pixels have equal scores. Hashing the whole
        # frame instead would cost 3 ms of CPU for 1 Mpx, 15 times as much as the pixels at 256 px.
        try:
            image = decode_frame(frame, self.bundle.manifest.preprocess, item.mosaic)
        except ImageError as error:
            return _unreadable(item, None, str(error))
        if (problem := depth_problem(image.bit_depth, image.brightest, self._white_level)) is not None:
            return _unreadable(item, None, str(problem))
        sha256 = hashlib.sha256(image.pixels.data).hexdigest()
        tells = frame.ndim == 2 or image.bit_depth > 8  # a video's frame is made 8-bit colour, whatever the camera saw
        colour, bits = (image.colour, image.bit_depth) if tells else (None, None)
        seen = Seen(image.pixels, image.source_size, colour, bits, image.placement)
        return self._known(item, sha256) or Ready(item, sha256, seen)

    def _known(self, item: SourceItem, sha256: str) -> Outcome | None:
        if self.known is None or (stored := self.known.find(self.bundle, sha256)) is None:
            is_told = self._earlier.on_content(item.taking, sha256)
            return _nothing(item, item.path, sha256, remark=TOLD_BEFORE) if is_told else None
        result = ImageResult(
            name=item.name,
            path=item.path,
            sha256=sha256,
            status=FileStatus.SKIPPED,
            score=stored.score,
            decision=stored.decision,
            reason=stored.reason,
            overlay_path=Path(stored.overlay_path) if stored.overlay_path else None,
            p_value=self.bundle.manifest.threshold.p_value(stored.score),
            size=stored.size,
            kind=None if stored.kind is None else SaidKind(stored.kind, stored.kind_probability),
            regions=() if stored.decision is Decision.PASS else self.known.regions(self.bundle.id, sha256),
        )
        return Outcome(result, stored=stored)

    def look(self, image: Ready) -> None:
        """Look at a prepared image now, if the line asks for it, and not when it is judged."""
        if self.bundle.manifest.likeness is not None:
            _ = image.seen.figures

    def score(self, image: Ready) -> Outcome:
        """Score a prepared image by itself, and have it judged.

        Raises:
            StorageError: an overlay cannot be written.
        """
        (scored,) = self.engine.score_mixed([self.head], image.pixels[None])
        return self.outcome(image, scored)

    def outcome(self, image: Ready, scored: ImageScore) -> Outcome:
        """What the bundle says of a scored image; asks for its map only where that needs it or a picture is drawn.

        Raises:
            StorageError: the overlay cannot be written.
        """
        verdict = self.bundle.judge(scored, image.seen)
        score = scored.score if verdict.judged else None
        likeness = self.bundle.manifest.likeness
        result = ImageResult(
            name=image.item.name,
            path=image.item.path,
            sha256=image.sha256,
            status=FileStatus.SCORED,
            score=score,
            decision=verdict.decision,
            reason=verdict.reason,
            overlay_path=self._overlay(image, scored, verdict),
            p_value=self.bundle.manifest.threshold.p_value(score),
            size=image.seen.size,
            regions=verdict.regions,
            depth=image.seen.depth,
            figures=None if likeness is None else image.seen.figures,
            kind=kind_of_image(self.bundle, verdict, scored, lambda: self.engine.features(image.pixels, self._tiles)),
        )
        display = None if image.item.frame is None else partial(self._display, image)
        view = ImageView(image.pixels, scored, display, image.seen.placement)
        return Outcome(
            result,
            view if verdict.judged else None,
            remark=None if likeness is None else likeness.remark(image.seen),
        )

    def _overlay(self, image: Ready, scored: ImageScore, verdict: Verdict) -> Path | None:
        """Draw a flagged image, if pictures are asked for."""
        # Drawn here, not by a thread of its own: all CPUs score anyway, and a row never names a picture that is not
        # there. With every tenth image flagged, 1-Mpx JPEGs cost 1.04 of the CPU time without pictures, and a flagged
        # image 0.7 of an image more (benchmarks/overlays.py, medians of 3 interleaved rounds on a busy machine); with a
        # thread, when that was tried, 1.08, and both 1.07 of the wall time.
        if self.overlays is None or not verdict.judged or verdict.decision is Decision.PASS:
            return None
        upright = ImageView(image.pixels, scored, placement=image.seen.placement).upright_map
        return self._write_overlay(image, upright, self.overlays)

    def _write_overlay(self, image: Ready, anomaly_map: NDArray[np.float32], folder: Path) -> Path:
        bundle = self.bundle
        threshold, region = bundle.manifest.threshold.pixel, bundle.region
        picture = overlay_jpeg(self._display(image), anomaly_map, threshold, region=region)
        path = folder / f"{image.sha256}.jpg"
        with storage_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, picture, durable=False)  # it can be drawn again
        return path

    def _display(self, image: Ready) -> NDArray[np.uint8]:
        """The image at its own size, uint8 RGB."""
        if image.item.frame is not None:
            return native_of_frame(image.item.frame, image.item.mosaic, self.bundle.manifest.preprocess)
        assert image.item.path is not None
        native = native_of(image.item.path, image.sha256, self.bundle.manifest.preprocess, self.limits)
        return image.pixels if native is None else native  # gone since it was scored: the model's own view is left


def _nothing(item: SourceItem, path: Path | None, sha256: str | None, *, remark: str | None = None) -> Outcome:
    result = ImageResult(name=item.name, path=path, sha256=sha256, status=FileStatus.SKIPPED)
    return Outcome(result, is_news=False, remark=remark)


def _unreadable(item: SourceItem, sha256: str | None, reason: str) -> Outcome:
    told = f"{reason} ({item.where})" if item.where else reason
    return Outcome(
        ImageResult(name=item.name, path=item.path, sha256=sha256, status=FileStatus.UNREADABLE, reason=told)
    )
