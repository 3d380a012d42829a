"""Images, masks and drawn regions, of every format that is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random

import cv2
import numpy as np
import tifffile
from PIL import Image

from pipeline.errors import ImageError
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, read_image, read_native, read_size
from pipeline.imaging.masks import read_mask
from pipeline.region_of_interest import read_region
from tests.fuzz.mutations import (
    as_json,
    damaged_bytes,
    damaged_value,
    parts_of,
    png_chunks,
    truncated,
    with_checksums_mended,
    zero_tailed,
)
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.parts.image_files import (
    bmp,
    cmyk_jpeg,
    exif_block,
    jpeg,
    jpeg_with_exif,
    picture,
    png,
    png_header,
    png_with_exif,
    tiff,
)

HEIGHT, WIDTH = 44, 52
_SPEC = PreprocessSpec(height=16, width=24)


def _pillow(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]  # Pillow's options are of many types
    return buffer.getvalue()


def _many_chunks(data: bytes, size: int = 400) -> bytes:
    """A PNG whose picture lies in many chunks, so that a whole one can get lost."""
    start, stop = next(span for span in png_chunks(data) if data[span[0] + 4 : span[0] + 8] == b"IDAT")
    body = data[start + 8 : stop - 4]
    pieces = [b"IDAT" + body[place : place + size] for place in range(0, len(body), size)]
    chunks = b"".join(struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in pieces)
    return data[:start] + chunks + data[stop:]


@cache
def specimens() -> dict[str, bytes]:
    """A whole file of every kind, by its name; small, as damage is found fastest in small files."""
    colour = picture(HEIGHT, WIDTH)
    noisy = np.random.default_rng(3).integers(0, 256, colour.shape, np.uint8)
    grey, deep = colour[:, :, 0].copy(), colour[:, :, 0].astype(np.uint16) * 257
    alpha = np.dstack([colour, grey])
    palette = Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE)
    return {
        "jpeg": jpeg(colour),
        "jpeg_grey": jpeg(grey),
        "jpeg_420": cv2.imencode(".jpg", colour)[1].tobytes(),
        "jpeg_progressive": cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "jpeg_restarts": cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
        "jpeg_exif": jpeg_with_exif(jpeg(colour), exif_block(6)),
        "jpeg_cmyk": cmyk_jpeg(),
        "png": png(colour),
        "png_noisy": _many_chunks(png(noisy)),
        "png_grey": png(grey),
        "png_deep": png(deep),
        "png_alpha": png(alpha),
        "png_palette": _pillow(palette, format="PNG"),
        "png_bit": _pillow(Image.fromarray(grey).convert("1"), format="PNG"),
        "png_exif": png_with_exif(png(colour), exif_block(8)),
        "png_bomb": png_header(900, 900) + _bomb(),
        "apng": _pillow(Image.fromarray(colour), format="PNG", save_all=True, append_images=[palette.convert("RGB")]),
        "bmp": bmp(colour),
        "bmp_grey": bmp(grey),
        "bmp_palette": _pillow(palette, format="BMP"),
        "bmp_alpha": _pillow(Image.fromarray(alpha), format="BMP"),
        "tiff": tiff(colour),
        "tiff_deep": tiff(deep),
        "tiff_big_endian": tiff(deep, byteorder=">"),
        "tiff_bigtiff": tiff(colour, bigtiff=True),
        "tiff_strips": tiff(noisy, rowsperstrip=5),
        "tiff_tiles": tiff(noisy, tile=(16, 16)),
        "tiff_planes": tiff(np.moveaxis(noisy, -1, 0).copy(), planarconfig="separate", photometric="rgb"),
        "tiff_alpha": tiff(alpha, extrasamples=["unassalpha"]),
        "tiff_deflate": tiff(noisy, compression="zlib", rowsperstrip=7),
        "tiff_deflate_predicted": tiff(colour, compression="zlib", predictor=True),
        "tiff_lzw": _pillow(Image.fromarray(noisy), format="TIFF", compression="tiff_lzw"),
        "tiff_packbits": _pillow(Image.fromarray(colour), format="TIFF", compression="packbits"),
        "tiff_thumbnail": _with_thumbnail(grey),
        "webp": cv2.imencode(".webp", colour)[1].tobytes(),
        "gif": _pillow(palette, format="GIF"),
    }


def _bomb() -> bytes:
    """Much of nothing: a few kilobytes that become 2.4 MB, and say so."""
    body = b"IDAT" + zlib.compress(bytes(900 * (1 + 3 * 900)), 9)
    end = b"\x00\x00\x00\x00IEND\xaeB`\x82"
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + end


def _with_thumbnail(grey: np.ndarray) -> bytes:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(grey, metadata=None)
        writer.write(grey[::4, ::4].copy(), metadata=None, subfiletype=1)
    return buffer.getvalue()


def hostile_image(rng: Random, whole: dict[str, bytes]) -> Input:
    """A damaged file of one kind. Facts: its kind, and whether it is one that lost its end."""
    kind = rng.choice(list(whole))
    data = whole[kind]
    match rng.randrange(8):
        case 0:
            return Input({"input": truncated(data, rng)}, f"{kind}: cut off", {"kind": kind, "lost_end": True})
        case 1:
            return Input(
                {"input": zero_tailed(data, rng)}, f"{kind}: zeros to the end", {"kind": kind, "zero_end": True}
            )
        case _:
            damaged, done = damaged_bytes(data, rng, parts_of(data), list(whole.values()))
            if kind.startswith(("png", "apng")) and rng.random() < 0.5:
                damaged, done = with_checksums_mended(damaged), [*done, "checksums mended"]
            return Input({"input": damaged}, f"{kind}: {', '.join(done)}", {"kind": kind})


@cache
def _clean_pixels(kind: str) -> np.ndarray | None:
    path = Path(f"/dev/shm/linewise-fuzz-clean-{kind}") if Path("/dev/shm").is_dir() else Path(f"/tmp/clean-{kind}")
    path.write_bytes(specimens()[kind])
    try:
        return read_native(path)
    except ImageError:
        return None
    finally:
        path.unlink(missing_ok=True)


def look_at_image(made: Input, folder: Path) -> str:
    """Read it at its own size and at a model's; damage that the file itself shows must not become other pixels."""
    path = folder / "input"
    scaled = read_image(path, _SPEC)
    try:
        pixels = read_native(path)
    except ImageError as error:
        if "memory" in str(error).lower() and "LINEWISE_MAX_PIXELS" not in str(error):
            raise MemoryError(str(error)) from error  # OpenCV's own word for it is a refusal otherwise
        if not isinstance(scaled, UnreadableImage):
            raise PassedInSilenceError(f"read at a model's size, refused at its own: {error}") from error
        raise
    if isinstance(scaled, UnreadableImage):
        raise PassedInSilenceError(f"refused at a model's size, read at its own: {scaled.reason}")
    if read_size(path) != pixels.shape[:2]:
        raise PassedInSilenceError(f"{read_size(path)} by its header, {pixels.shape} by its pixels")
    clean = _clean_pixels(made.facts["kind"])
    if clean is None or not np.array_equal(pixels, clean):
        _refuse_silence(made, path.read_bytes())
    return "read"


def _refuse_silence(made: Input, data: bytes) -> None:
    """Other pixels than the whole file has are no finding, unless the file itself says that it is damaged."""
    if made.facts.get("lost_end"):
        raise PassedInSilenceError("a file without its end became an image with other pixels")
    if made.facts.get("zero_end") and data.startswith((b"\x89PNG", b"\xff\xd8")):
        raise PassedInSilenceError("a file whose end is zeros became an image with other pixels")
    if data.startswith(b"\x89PNG") and (problem := png_problem(data)) is not None:
        raise PassedInSilenceError(f"a PNG with {problem} became an image")


def png_problem(data: bytes) -> str | None:
    """What is wrong with a PNG by its own checksums and its inflated length, read by zlib alone; None: nothing."""
    spans = png_chunks(data)
    kinds = [data[start + 4 : start + 8] for start, _ in spans]
    if b"IEND" in kinds:
        spans = spans[: kinds.index(b"IEND") + 1]
    for start, stop in spans:
        kind = data[start + 4 : start + 8]
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"eXIf") and zlib.crc32(
            data[start + 4 : stop - 4]
        ) != int.from_bytes(data[stop - 4 : stop], "big"):
            return f"a wrong checksum of {kind.decode()}"
    body = b"".join(data[start + 8 : stop - 4] for start, stop in spans if data[start + 4 : start + 8] == b"IDAT")
    wanted = _inflated_length(data)
    inflater = zlib.decompressobj()
    try:
        inflated = len(inflater.decompress(body, wanted + 1))
    except zlib.error as error:  # whoever mends a chunk's checksum can mend zlib's: libpng does not ask for both
        return None if "incorrect data check" in str(error) else f"data that zlib refuses ({error})"
    return None if inflated >= wanted else f"{inflated} of {wanted} bytes of pixels"


def _inflated_length(data: bytes) -> int:
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    samples = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    total = 0
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * samples + 7) // 8)
    return total


def _mask(rng: Random) -> Input:
    kinds = {name: data for name, data in specimens().items() if name not in ("webp", "gif", "png_bomb")}
    made = hostile_image(rng, kinds)
    size = rng.choice([(HEIGHT, WIDTH)] * 8 + [(WIDTH, HEIGHT), (1, 1)])
    return Input(made.files, made.done, {**made.facts, "size": size})


def _look_at_mask(made: Input, folder: Path) -> str:
    size = made.facts["size"]
    marked = read_mask(folder / "input", size)
    if marked.shape != size or marked.dtype != np.bool_:
        raise PassedInSilenceError(f"a mask of {marked.shape} for an image of {size}")
    clean = _clean_pixels(made.facts["kind"])
    if clean is None or not np.array_equal(marked, (clean != 0).any(axis=2)):
        _refuse_silence(made, (folder / "input").read_bytes())
    return "read"


_DRAWING = {
    "width": WIDTH,
    "height": HEIGHT,
    "look": [[[1, 1], [50, 2], [30.5, 40]], [[2, 2], [3, 40], [40, 40]]],
    "ignore": [[[5, 5], [9, 5], [9, 9]]],
}


def _region(rng: Random) -> Input:
    if rng.random() < 0.3:
        made = hostile_image(rng, specimens())
        return Input({"region.png": made.files["input"]}, made.done, {"name": "region.png"})
    drawing = as_json(damaged_value(_DRAWING, rng), rng)
    return Input({"region.json": drawing}, "polygons changed", {"name": "region.json"})


def _look_at_region(made: Input, folder: Path) -> str:
    region = read_region(folder / made.facts["name"], [(HEIGHT, WIDTH)])
    if not 0 < region.share <= 1:
        raise PassedInSilenceError(f"a region of {region.share:%} of the image")
    return "read"


_make_image: Callable[[Random], Input] = lambda rng: hostile_image(rng, specimens())  # noqa: E731
SURFACES = (
    Surface("decoding", 0.40, _make_image, look_at_image),
    Surface("masks", 0.06, _mask, _look_at_mask),
    Surface("regions", 0.03, _region, _look_at_region),
)
