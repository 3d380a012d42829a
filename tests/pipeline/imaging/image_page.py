"""docs/images.md's table, made of real files of each kind: `python -m tests.pipeline.imaging.image_page` writes it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms

from pipeline.imaging.encoded import EncodedImage
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, image_limits, open_image, read_image
from pipeline.storage import replace_file
from tests.checkout import REPOSITORY
from tests.parts.image_files import (
    ALPHA,
    DEEP,
    DEEP_COLOUR,
    GREY,
    bmp,
    cmyk_jpeg,
    exif_block,
    jpeg,
    jpeg_with_exif,
    packed_tiff,
    picture,
    png,
    png_chunk,
    png_header,
    tiff,
)

PAGE = REPOSITORY / "docs" / "images.md"
BEGIN = "<!-- made of real files by python -m tests.pipeline.imaging.image_page -->"
END = "<!-- end of the table -->"
_SPEC = PreprocessSpec(height=64, width=64)


@dataclass(frozen=True)
class Kind:
    """One kind of file. `note`: what to know where it is read."""

    name: str
    make: Callable[[], bytes]
    note: str = ""


def _saved(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]  # Pillow's options are of many types
    return buffer.getvalue()


def _shallow(bits: int) -> np.ndarray:
    """Grey of so many bits in 16, as a camera writes Mono10, Mono12 and Mono14 unpacked."""
    return GREY.astype(np.uint16) << (bits - 8)


def _with_tag(data: bytes, name: str, value: int) -> bytes:
    """A TIFF whose first page's tag, of type SHORT, has another value."""
    with tifffile.TiffFile(BytesIO(data)) as file:
        tag = file.pages.first.tags[name]
    return data[: tag.valueoffset] + struct.pack("<H", value) + data[tag.valueoffset + 2 :]


def _jpeg_of_12_bits() -> bytes:
    data = bytearray(jpeg(GREY))
    data[data.index(b"\xff\xc0") + 4] = 12
    return bytes(data)


def _two_pages() -> bytes:
    return tiff(np.stack([GREY, GREY]), photometric="minisblack")


def _with_thumbnail() -> bytes:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, metadata=None)
        writer.write(GREY[::4, ::4].copy(), metadata=None, subfiletype=1)
    return buffer.getvalue()


def _palette_tiff() -> bytes:
    return tiff(GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16))


def _cfa() -> bytes:
    return _with_tag(tiff(GREY), "PhotometricInterpretation", 32803)


def _grey_alpha() -> bytes:
    return _saved(Image.fromarray(GREY).convert("LA"), format="PNG")


def _colours() -> Image.Image:
    return Image.fromarray(picture())


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _animated() -> bytes:
    return _saved(_colours(), format="PNG", save_all=True, append_images=[_colours().rotate(90)])


def _progressive() -> bytes:
    return cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def _line_scan() -> bytes:
    return png_header(16_384, 12_000, colour_type=0) + png_chunk(b"IEND", b"")


def _stray() -> bytes:
    return jpeg(picture())[:-2] + b"\x12\x34\x56\x78" * 4 + b"\xff\xd9"


_CHANNELS = {1: "mono", 3: "colour", 4: "colour with alpha"}
_WHITE = "the line's white level becomes white: `adapt --white-level {}`"

_BAYER = (
    "as grey, for nothing in the file says that it is one; as colour with `--bayer RGGB` (`adapt`, `evaluate`, "
    "`meta-train`)"
)

KINDS = (
    Kind("JPEG, colour", lambda: jpeg(picture())),
    Kind("JPEG, mono", lambda: jpeg(GREY)),
    Kind("JPEG, progressive", _progressive),
    Kind("JPEG of 12 bits", _jpeg_of_12_bits),
    Kind("JPEG, CMYK", cmyk_jpeg),
    Kind("JPEG with an EXIF orientation", lambda: jpeg_with_exif(jpeg(picture()), exif_block(6)), "turned upright"),
    Kind("JPEG with an ICC profile", lambda: _saved(_colours(), format="JPEG", icc_profile=_profile()), "not applied"),
    Kind("JPEG with stray bytes before its end marker", _stray, "the pixels every decoder gives"),
    Kind("JPEG with a second picture behind it (MPO)", lambda: jpeg(picture()) + jpeg(GREY), "the first"),
    Kind("JPEG that ends early", lambda: jpeg(picture())[:-300]),
    Kind("PNG, colour", lambda: png(picture())),
    Kind("PNG, mono", lambda: png(GREY)),
    Kind("PNG, mono, 16 bits", lambda: png(DEEP), _WHITE.format(65535)),
    Kind("PNG, colour, 16 bits", lambda: png(DEEP_COLOUR), _WHITE.format(65535)),
    Kind("PNG, 10 bits in 16 (Mono10)", lambda: png(_shallow(10)), _WHITE.format(1023)),
    Kind("PNG, 12 bits in 16 (Mono12)", lambda: png(_shallow(12)), _WHITE.format(4095)),
    Kind("PNG, 14 bits in 16 (Mono14)", lambda: png(_shallow(14)), _WHITE.format(16383)),
    Kind("PNG, 1 bit", lambda: _saved(Image.fromarray(GREY).convert("1"), format="PNG")),
    Kind("PNG with a palette", lambda: _saved(_colours().quantize(16), format="PNG"), "its colours"),
    Kind("PNG with alpha", lambda: png(ALPHA), "alpha does not count"),
    Kind("PNG, mono with alpha", _grey_alpha, "alpha does not count"),
    Kind("PNG with an ICC profile", lambda: _saved(_colours(), format="PNG", icc_profile=_profile()), "not applied"),
    Kind("PNG, animated (APNG)", _animated),
    Kind("PNG that ends early", lambda: png(picture())[:-300]),
    Kind("BMP, colour", lambda: bmp(picture())),
    Kind("BMP, mono", lambda: bmp(GREY)),
    Kind("BMP with a palette", lambda: _saved(_colours().quantize(16), format="BMP"), "its colours"),
    Kind("BMP that ends early", lambda: bmp(picture())[:-300]),
    Kind("TIFF, colour", lambda: tiff(picture())),
    Kind("TIFF, mono", lambda: tiff(GREY)),
    Kind("TIFF, mono, 16 bits", lambda: tiff(DEEP), _WHITE.format(65535)),
    Kind("TIFF, 12 bits in 16 (Mono12)", lambda: tiff(_shallow(12)), _WHITE.format(4095)),
    Kind("TIFF, 12 bits packed (Mono12Packed)", lambda: packed_tiff(_shallow(12)), _WHITE.format(4095)),
    Kind("TIFF, 10 bits packed (Mono10Packed)", lambda: _with_tag(tiff(DEEP), "BitsPerSample", 10)),
    Kind("TIFF, Deflate (LZW and PackBits alike)", lambda: tiff(picture(), compression="zlib")),
    Kind("TIFF, JPEG inside", lambda: _saved(_colours(), format="TIFF", compression="jpeg")),
    Kind("TIFF, BigTIFF", lambda: tiff(picture(), bigtiff=True)),
    Kind("TIFF, big-endian", lambda: tiff(DEEP, byteorder=">"), _WHITE.format(65535)),
    Kind("TIFF with alpha", lambda: tiff(ALPHA, extrasamples=["unassalpha"]), "alpha does not count"),
    Kind("TIFF with alpha, compressed", lambda: tiff(ALPHA, extrasamples=["unassalpha"], compression="zlib")),
    Kind("TIFF with a palette", _palette_tiff),
    Kind("TIFF, CMYK", lambda: _saved(_colours().convert("CMYK"), format="TIFF")),
    Kind("TIFF, floating point", lambda: tiff(picture().astype(np.float32))),
    Kind("TIFF of several pages", _two_pages),
    Kind("TIFF with a thumbnail page", _with_thumbnail, "the page itself"),
    Kind("TIFF that ends early", lambda: tiff(picture())[:-300]),
    Kind("Bayer mosaic in a mono PNG, BMP or TIFF", lambda: png(_bayer()), _BAYER),
    Kind("Bayer mosaic in a TIFF that says so (CFA)", _cfa),
    Kind("WebP", lambda: _saved(_colours(), format="WEBP")),
    Kind("AVIF", lambda: _saved(_colours(), format="AVIF")),
    Kind("HEIC", lambda: b"\x00\x00\x00\x18ftypheic" + bytes(100)),
    Kind("JPEG 2000", lambda: _saved(_colours(), format="JPEG2000")),
    Kind("GIF", lambda: _saved(_colours(), format="GIF")),
    Kind("Raw pixels without a header", GREY.tobytes),
    Kind("Text or whatever else under an image's name", lambda: b"these are not pixels\n"),
    Kind("Git LFS's pointer to an image", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    Kind("Empty file", lambda: b""),
    Kind("1 x 1 pixel", lambda: png(GREY[:1, :1])),
    Kind("15 x 200 pixels", lambda: png(np.tile(GREY[:15], (1, 3))[:, :200].copy())),
    Kind("16 x 270 pixels", lambda: png(np.tile(GREY[:16], (1, 3)))),
    Kind("Line scan, 12,000 x 16,384 pixels", _line_scan),
)  # fmt: skip


def _bayer() -> np.ndarray:
    """RGGB: every pixel has one of its three colours."""
    pixels = picture()
    mosaic = pixels[:, :, 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = pixels[::2, ::2, 0], pixels[1::2, 1::2, 2]
    return mosaic


def table() -> str:
    """A row for each kind: what it is read as, or the sentence it is refused with."""
    with TemporaryDirectory() as folder:
        rows = [_row(kind, Path(folder) / "image") for kind in KINDS]
    return "\n".join(["| file | | how it is read, or why not |", "|---|---|---|", *rows])


def _row(kind: Kind, path: Path) -> str:
    path.write_bytes(kind.make())
    result = read_image(path, _SPEC)
    if isinstance(result, UnreadableImage):
        return f"| {kind.name} | refused | {result.reason.replace('|', chr(92) + '|')} |"
    how = _how(open_image(path.read_bytes(), image_limits()))
    return f"| {kind.name} | read | {how}{'; ' if kind.note else ''}{kind.note} |"


def _how(encoded: EncodedImage) -> str:
    return f"{_CHANNELS[encoded.channels]}, {encoded.bit_depth} bits"


def with_table(page: str) -> str:
    """The page with its table made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    replace_file(PAGE, with_table(PAGE.read_text()).encode())
