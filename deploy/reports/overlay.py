"""Pictures of what the model saw: a heat map over the part, a contour round the marked region, and single patches.

The colours mean the same on every picture of a line: nothing shows well below the pixel threshold, and the hottest
colour is reached one *scale* above it, however hot the rest of this picture is.

Shape letters: H x W image pixels, h x w the anomaly map's grid.
"""

from __future__ import annotations

import base64
import math
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipeline.region_of_interest import RegionOfInterest

RGB = NDArray[np.uint8]
"""An image, uint8 (H, W, 3), red first."""

_FADE_IN = 0.25  # of a scale: the heat map appears this far below the pixel threshold...
_OPACITY = 0.62  # ...and is this opaque at its hottest, so that the part stays visible under it
_COOLEST = 90  # inferno below this is nearly black and would look like shade on the part
_COLOURS: RGB = (
    cv2.applyColorMap(np.linspace(_COOLEST, 255, 256).astype(np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    .reshape(256, 3)[:, ::-1]
    .astype(np.uint8)
)
_OPACITIES = (_OPACITY * np.sqrt(np.linspace(0, 1, 256))).astype(np.float32)
_UNSEEN = 0.4  # of its brightness is what lies outside a line's region of interest shown with
_CONTOUR: tuple[int, int, int] = (0, 229, 255)  # cyan: neither inferno nor any common product has it
_CONTOUR_EDGE: tuple[int, int, int] = (0, 0, 0)


def overlay_jpeg(
    image: RGB,
    anomaly_map: NDArray[np.float32],
    pixel_threshold: float,
    *,
    max_side: int = 1024,
    quality: int = 85,
    scale: float | None = None,
    region: RegionOfInterest | None = None,
) -> bytes:
    """The image under its heat map and contour, as a JPEG.

    Args:
        image: uint8 RGB (H, W, 3), of any size.
        anomaly_map: (h, w) over the whole image, higher is more anomalous.
        pixel_threshold: map value from which a pixel counts as defective.
        max_side: the picture's longer side in pixels at most; smaller images keep their size.
        quality: JPEG quality, 1..100.
        scale: map units from the threshold to the hottest colour; None: the threshold's magnitude (1 if that is 0).
        region: of the image that is looked at, the rest is shaded; None: all of it.

    Raises:
        ValueError: a shape or type is another, or the map or the threshold is not finite.
    """
    shown = shrink(image, max_side)
    seen = shown if region is None else _shaded(shown, region)
    blended = heat_map_image(seen, anomaly_map, pixel_threshold, scale=scale, steep=region is not None)
    return encode_jpeg(blended, quality=quality)


def heat_map_image(
    image: RGB,
    anomaly_map: NDArray[np.float32],
    pixel_threshold: float,
    *,
    scale: float | None = None,
    steep: bool = False,
) -> RGB:
    """The image under its heat map and contour, uint8 RGB of the image's size; see `overlay_jpeg`, `upsample_map`."""
    _check_image(image)
    _check_map(anomaly_map, pixel_threshold)
    height, width = image.shape[:2]
    values = upsample_map(anomaly_map, height, width, steep=steep)
    span = scale if scale is not None else (abs(pixel_threshold) or 1.0)
    if not (math.isfinite(span) and span > 0):
        raise ValueError(f"expected a scale above 0, got {span}")
    coolest, gain = np.float32(pixel_threshold - _FADE_IN * span), np.float32(255 / ((1 + _FADE_IN) * span))
    levels = np.clip((values - coolest) * gain, 0, 255).astype(np.uint8)
    blended = image.copy()
    left, top, columns, rows = cv2.boundingRect(levels)  # mostly a small part of the picture: the rest costs nothing
    if columns and rows:
        part = (slice(top, top + rows), slice(left, left + columns))
        marked = np.ascontiguousarray(levels[part])
        opacity = cv2.LUT(marked, _OPACITIES)
        colours = cv2.applyColorMap(marked, _COLOURS[:, None])
        blended[part] = cv2.blendLinear(blended[part].copy(), colours, 1 - opacity, opacity)
    return _draw_contours(blended, _marked(anomaly_map, pixel_threshold, height, width))


def _shaded(image: RGB, region: RegionOfInterest) -> RGB:
    """The image, dark outside the region."""
    inside = region.at(*image.shape[:2])[..., None] / np.float32(255)
    return np.rint(image * (_UNSEEN + (1 - _UNSEEN) * inside)).astype(np.uint8)


def upsample_map(
    anomaly_map: NDArray[np.float32], height: int, width: int, *, steep: bool = False
) -> NDArray[np.float32]:
    """The map at (height, width), bicubic, without the values outside its range that bicubic would invent.

    One with a `steep` edge, that of a region of interest, is made bilinear: bicubic would put a hot rim along it.
    """
    way = cv2.INTER_LINEAR if steep else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(anomaly_map, dtype=np.float32), (width, height), interpolation=way)
    return np.clip(resized, anomaly_map.min(), anomaly_map.max(), dtype=np.float32)


def worst_cell(anomaly_map: NDArray[np.float32], grid: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the cell of a (rows, columns) grid over the map that holds the map's highest value."""
    row, column = np.unravel_index(int(np.argmax(anomaly_map)), anomaly_map.shape)
    height, width = anomaly_map.shape
    return int(row) * grid[0] // height, int(column) * grid[1] // width


def crop_patch(
    image: RGB, row: int, col: int, grid: tuple[int, int], *, cells: float = 5.0, size: int = 128, mark: bool = True
) -> RGB:
    """The surroundings of one grid cell, for "worst patch" and "nearest good patch" side by side.

    Args:
        image: uint8 RGB (H, W, 3), the grid lies over all of it.
        row: of the cell, 0 at the top.
        col: column of the cell, 0 at the left.
        grid: (rows, columns).
        cells: the crop's side in cells; at the image's border the crop moves inwards and keeps its size.
        size: the result's side in pixels.
        mark: frame the cell itself.

    Returns:
        uint8 RGB (size, size, 3).

    Raises:
        ValueError: not an RGB image, or the cell is outside the grid.
    """
    _check_image(image)
    rows, columns = grid
    if not (0 <= row < rows and 0 <= col < columns):
        raise ValueError(f"expected a cell inside the grid {rows} x {columns}, got row {row}, column {col}")
    height, width = image.shape[:2]
    cell_height, cell_width = height / rows, width / columns
    side = min(max(round(cells * max(cell_height, cell_width)), 2), height, width)
    top = min(max(round((row + 0.5) * cell_height - side / 2), 0), height - side)
    left = min(max(round((col + 0.5) * cell_width - side / 2), 0), width - side)
    crop = image[top : top + side, left : left + side]
    zoom = size / side
    enlarged = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
    patch = np.ascontiguousarray(enlarged, dtype=np.uint8)
    if mark:
        corner, opposite = (
            (
                min(max(round((x * cell_width - left) * zoom), 1), size - 2),
                min(max(round((y * cell_height - top) * zoom), 1), size - 2),
            )
            for x, y in ((col, row), (col + 1, row + 1))
        )
        cv2.rectangle(patch, corner, opposite, _CONTOUR_EDGE, 4, cv2.LINE_AA)
        cv2.rectangle(patch, corner, opposite, _CONTOUR, 2, cv2.LINE_AA)
    return patch


def shrink(image: RGB, max_side: int) -> RGB:
    """The image with its longer side at most `max_side`, averaged over areas; smaller images come back as they are."""
    _check_image(image)
    height, width = image.shape[:2]
    ratio = max_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def encode_jpeg(image: RGB, *, quality: int = 85) -> bytes:
    """An RGB image as JPEG bytes."""
    _check_image(image)
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def encode_png(image: RGB) -> bytes:
    """An RGB image as PNG bytes, lossless."""
    _check_image(image)
    written, encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    assert written, "OpenCV encodes any uint8 image"
    return encoded.tobytes()


def data_uri(encoded: bytes) -> str:
    """JPEG or PNG bytes as a `data:` URI.

    Raises:
        ValueError: the bytes are neither.
    """
    return f"data:image/{_media_type(encoded)};base64,{base64.b64encode(encoded).decode('ascii')}"


def _media_type(encoded: bytes) -> Literal["jpeg", "png"]:
    if encoded.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    raise ValueError(f"expected JPEG or PNG bytes, got {encoded[:8]!r}")


def _marked(anomaly_map: NDArray[np.float32], pixel_threshold: float, height: int, width: int) -> NDArray[np.bool_]:
    """What `pipeline.regions` marks, at (height, width): bilinear too, as bicubic would join and add small regions."""
    size = (width, height)
    return (
        cv2.resize(np.ascontiguousarray(anomaly_map, np.float32), size, interpolation=cv2.INTER_LINEAR)
        >= pixel_threshold
    )


def _draw_contours(image: RGB, marked: NDArray[np.bool_]) -> RGB:
    """Outlines of the marked region in cyan on black, readable on light and dark parts."""
    outlines, _ = cv2.findContours(marked.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(2, round(max(image.shape[:2]) / 400))
    drawn = np.ascontiguousarray(image)
    cv2.drawContours(drawn, outlines, -1, _CONTOUR_EDGE, thickness + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, _CONTOUR, thickness, cv2.LINE_AA)
    return drawn


def _check_image(image: RGB) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected a uint8 RGB image (H, W, 3), got {image.dtype} {image.shape}")


def _check_map(anomaly_map: NDArray[np.float32], pixel_threshold: float) -> None:
    if anomaly_map.ndim != 2 or 0 in anomaly_map.shape:
        raise ValueError(f"expected an anomaly map (h, w), got {anomaly_map.shape}")
    if not np.isfinite(anomaly_map).all():
        raise ValueError("expected a finite anomaly map, got nan or inf in it")
    if not math.isfinite(pixel_threshold):
        raise ValueError(f"expected a finite pixel threshold, got {pixel_threshold}")
