"""Pictures of a scoring run: which images the report shows, and how each is drawn."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deploy.bundles.bundle import Bundle
from deploy.reports.gallery import Gallery, GalleryItem, SupportView, build_item
from deploy.reports.overlay import encode_jpeg, shrink
from deploy.scoring.display import native_of
from deploy.scoring.image_result import ImageResult, ImageView
from pipeline.augmentations import AUGMENTATIONS
from pipeline.calibration import Decision
from pipeline.errors import ImageError
from pipeline.imaging.images import UnreadableImage, open_image, read_file

EARLIER_SIDE = 448


class Pictures:
    """Offers a run's images to a gallery; pictures are drawn only for those it takes.

    Args:
        gallery: chooses.
        bundle: that scores; its support images stand beside the worst patches.
    """

    def __init__(self, gallery: Gallery, bundle: Bundle) -> None:
        self._gallery = gallery
        self._manifest = bundle.manifest
        self._sources, self._region = bundle.bank_sources(), bundle.region
        self._support_view = support_view(bundle)

    def take(self, result: ImageResult, view: ImageView | None) -> None:
        """Offer one image: as the model saw it just now, or, if it was flagged in an earlier run, with that overlay."""
        if result.score is None or result.decision is None:
            return
        score, decision, name = result.score, result.decision, result.name

        def scored(view: ImageView) -> GalleryItem:
            return build_item(
                name=name,
                score=score,
                decision=decision,
                reason=result.reason,
                size=result.size,
                regions=result.regions,
                kind=result.kind,
                pixels=view.pixels,
                anomaly_map=view.anomaly_map,
                pixel_threshold=self._manifest.threshold.pixel,
                nearest=view.nearest,
                bank_sources=None if view.scored.at_first_look else self._sources,  # of the line's own head
                support_view=self._support_view,
                display=self._display(result) if view.display is None else view.display(),
                region=self._region,
                placement=view.placement,
            )

        if view is not None:
            self._gallery.offer(score, decision, lambda: scored(view))
        elif result.flagged and result.overlay_path is not None and result.overlay_path.is_file():
            self._gallery.offer(score, decision, lambda: self._earlier(score, decision, result))

    def _earlier(self, score: float, decision: Decision, result: ImageResult) -> GalleryItem:
        """An image that an earlier run flagged, under that run's overlay; what is gone since then is left grey."""
        assert result.overlay_path is not None
        grey = np.full((64, 64, 3), 127, dtype=np.uint8)
        display = self._display(result)
        try:
            drawn = simplejpeg.decode_jpeg(result.overlay_path.read_bytes(), colorspace="RGB")
        except (OSError, ValueError):
            drawn = grey
        return GalleryItem(
            name=result.name,
            score=score,
            decision=decision,
            image=encode_jpeg(shrink(grey if display is None else display, EARLIER_SIDE)),
            overlay=encode_jpeg(shrink(drawn, EARLIER_SIDE)),
            size=result.size,
            regions=result.regions,
            kind=result.kind,
        )

    def _display(self, result: ImageResult) -> NDArray[np.uint8] | None:
        """The file at its own size, for looking at; None when it changed or went away since it was scored."""
        if result.path is None or result.sha256 is None:
            return None
        return native_of(result.path, result.sha256, self._manifest.preprocess)


def support_view(bundle: Bundle) -> SupportView:
    """The good support images as the bank saw them. An augmentation that the bundle does not name cannot be shown."""
    names = bundle.manifest.learner.config.get("augmentations")
    views = [AUGMENTATIONS.get(str(name)) for name in names] if isinstance(names, list) else []
    pictures = bundle.support_pictures

    def show(image: int, augmentation: int) -> NDArray[np.uint8] | None:
        if image not in pictures:
            return None
        file = read_file(pictures[image])  # OpenCV itself takes no path that is not in UTF-8
        if isinstance(file, UnreadableImage):
            return None
        try:
            open_image(file.data)  # its size, before OpenCV takes the memory for it
        except ImageError:
            return None
        stored = cv2.imdecode(np.frombuffer(file.data, np.uint8), cv2.IMREAD_COLOR)
        if stored is None:
            return None
        pixels = np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        if augmentation < 0:
            return pixels
        view = views[augmentation] if augmentation < len(views) else None
        return None if view is None else np.ascontiguousarray(view(pixels))

    return show
