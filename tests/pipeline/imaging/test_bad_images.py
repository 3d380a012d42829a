"""Files that are no image, or none that may be scored: refused in a sentence, never an exception of a library."""

import os
import struct
import tempfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ImageError
from pipeline.imaging.images import (
    DecodedImage,
    ImageLimits,
    UnreadableImage,
    read_image,
    read_native,
    require_image,
)
from tests.parts.image_files import (
    ALPHA,
    DEEP,
    DEEP_COLOUR,
    GREY,
    SPEC,
    bmp,
    cmyk_jpeg,
    exif_block,
    jpeg,
    jpeg_with_exif,
    picture,
    png,
    png_chunk,
    png_header,
    reason,
    tiff,
)


def test_other_contents_are_named(save):
    assert reason(save(b"hello, world\n" * 9)) == (
        "expected a JPEG, PNG, BMP or TIFF image, got other contents (the file begins with b'hello, w'): "
        "save the image in one of these formats"
    )


def test_an_empty_file(save):
    assert reason(save(b"")) == "expected an image, got an empty file: copy the file again from its source"


def test_a_missing_file(tmp_path):
    assert reason(tmp_path / "none.png") == "expected an image file, got no such file: check the path"


def test_a_folder_or_a_pipe_is_not_an_image(tmp_path):
    assert reason(tmp_path) == "expected an image file, got a folder: name a file"
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert reason(pipe) == "expected an image file, got a pipe or device: name a file"


def test_links_that_lead_nowhere(tmp_path):
    broken, loop = tmp_path / "broken.png", tmp_path / "loop.png"
    broken.symlink_to(tmp_path / "gone.png")
    loop.symlink_to(loop)
    assert "got a link to no such file" in reason(broken)
    assert "got a link that leads to itself" in reason(loop)


def test_a_file_without_read_permission():
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is closed to other users even one level above
        path = Path(folder, "closed.png")
        path.write_bytes(png(GREY))
        Path(folder).chmod(0o755)
        path.chmod(0)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)  # root may read everything
        try:
            got = reason(path)
        finally:
            if was_root:
                os.seteuid(0)
    assert got == "expected a readable image file, got permission denied: grant read access to the file"


ENCODINGS = {
    "JPEG": jpeg(picture()),
    "PNG": png(picture()),
    "BMP": bmp(picture()),
    "TIFF": tiff(picture()),
}


@pytest.mark.parametrize("format_name", ENCODINGS)
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_a_file_that_ends_early(save, format_name, kept):
    data = ENCODINGS[format_name]
    expected = f"expected a complete {format_name}, got one that ends early: copy the file again from its source"
    assert reason(save(data[: int(len(data) * kept)])) == expected


UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # one folder for all examples, and as always


@pytest.mark.parametrize("format_name", [*ENCODINGS, "TIFF deflate"])
@given(data=st.data())
@settings(database=None, max_examples=60, suppress_health_check=UNCHECKED)
def test_no_cut_is_read_as_a_whole_image(tmp_path, format_name, data):
    whole = tiff(picture(), compression="zlib") if format_name == "TIFF deflate" else ENCODINGS[format_name]
    path = tmp_path / "cut"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    result = read_image(path, SPEC)
    assert isinstance(result, UnreadableImage)
    assert result.reason.startswith("expected ")


def test_a_tiff_whose_directory_lies_about_its_planes_is_damaged(tmp_path):
    """Found by the test below: tifffile then gives pixels of another shape."""
    page = bytearray(tiff(picture()))
    with tifffile.TiffFile(BytesIO(bytes(page))) as file:
        tag = file.pages.first.tags["PlanarConfiguration"]
    page[tag.valueoffset] = 150
    (tmp_path / "lies.tiff").write_bytes(page)
    assert "not what its directory says" in reason(tmp_path / "lies.tiff")


def test_a_tiff_whose_lists_of_strips_differ_is_damaged(save):
    page = bytearray(tiff(picture(), rowsperstrip=16))
    with tifffile.TiffFile(BytesIO(bytes(page))) as file:
        tag = file.pages.first.tags["StripByteCounts"]
    page[tag.offset + 4 : tag.offset + 8] = struct.pack("<I", tag.count - 1)
    assert reason(save(bytes(page))).startswith("expected a complete TIFF, got one without a whole list of its strips")


@pytest.mark.parametrize("format_name", [*ENCODINGS, "TIFF deflate", "PNG 16", "EXIF"])
@given(data=st.data())
@settings(database=None, max_examples=80, suppress_health_check=UNCHECKED)
def test_a_damaged_file_never_raises(tmp_path, format_name, data):
    more = {
        "TIFF deflate": tiff(picture(), compression="zlib"),
        "PNG 16": png(DEEP),
        "EXIF": jpeg_with_exif(jpeg(picture()), exif_block(6)),
    }
    damaged = bytearray((ENCODINGS | more)[format_name])
    head = st.integers(0, min(300, len(damaged) - 1))  # headers matter most
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(head | st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    result = read_image(path, SPEC, ImageLimits(max_pixels=1_000_000))
    if isinstance(result, DecodedImage):
        assert result.pixels.shape == (32, 48, 3)
    else:
        assert result.reason.startswith("expected ")


def test_png_with_a_flipped_bit_is_refused(save):
    data = bytearray(ENCODINGS["PNG"])
    data[len(data) // 2] ^= 1
    assert reason(save(bytes(data))) == "expected a complete PNG, got damaged data: copy the file again from its source"


def test_png_with_too_little_image_data_is_refused(save):
    rows = b"".join(b"\x00" + bytes(300) for _ in range(50))
    data = png_header(100, 100) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert "damaged data" in reason(save(data))


def test_a_huge_header_is_refused_before_decoding(save):
    # Were a pixel decoded, the reason would be the missing image data, or 30 GB of memory.
    data = png_header(100_000, 100_000) + png_chunk(b"IEND", b"")
    assert reason(save(data)) == (
        "expected at most 100,000,000 pixels, got 100000 x 100000 pixels = 10,000,000,000: "
        "save a smaller image or set LINEWISE_MAX_PIXELS higher, where memory allows"
    )
    huge_bmp = bytearray(bmp(GREY))
    huge_bmp[18:26] = struct.pack("<ii", 100_000, 100_000)
    huge_bmp[30:34] = struct.pack("<I", 1)  # run lengths: no size follows from the header
    assert "10,000,000,000" in reason(save(bytes(huge_bmp)))
    huge_jpeg = bytearray(jpeg(GREY))
    frame = huge_jpeg.index(b"\xff\xc0")
    huge_jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    assert "4,225,000,000" in reason(save(bytes(huge_jpeg)))
    path = save(tiff(GREY))
    assert "expected at most 100 pixels" in reason(path, ImageLimits(max_pixels=100))


def patched(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png_header(40, 40, colour_type=5), "a complete PNG, got the unknown colour type 5: copy the file again"),
        (patched(bmp(GREY), 28, b"\x07\x00"), "a complete BMP, got a width of"),  # bits a pixel
        (patched(bmp(GREY), 30, b"\x04\x00\x00\x00"), "a plain or run-length BMP, got compression 4: save the image"),
    ],
)
def test_headers_no_camera_writes_are_refused(save, data, expected):
    assert reason(save(data)).startswith(f"expected {expected}")


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(600_000_001)
    result = read_image(path, SPEC)
    assert isinstance(result, UnreadableImage)
    assert result.sha256 is None
    assert result.reason == (
        "expected at most 600,000,000 bytes, got 600,000,001 bytes: "
        "save a smaller image or set LINEWISE_MAX_PIXELS higher, where memory allows"
    )


def test_too_small_an_image(save):
    assert reason(save(png(picture(15, 40)))) == (
        "expected at least 16 pixels on each side, got 15 x 40 pixels: use a larger image"
    )
    data = png_header(0, 40) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    assert "got 40 x 0 pixels" in reason(save(data))
    no_side = bytearray(jpeg(GREY))
    frame = no_side.index(b"\xff\xc0")
    no_side[frame + 5 : frame + 9] = bytes(4)
    assert reason(save(bytes(no_side))).startswith("expected ")


def test_print_colours_are_refused(save):
    assert reason(save(cmyk_jpeg())) == (
        "expected a grey or RGB JPEG, got print colours (YCCK): convert the image to RGB"
    )


PLAIN = "save the image as an uncompressed 8- or 16-bit TIFF or as PNG"


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (
            tiff(picture().astype(np.float32)),
            f"expected a TIFF of 8 or 16 bits a sample, got 32 bits (IEEEFP): {PLAIN}",
        ),
        (tiff(GREY.astype(np.int16)), f"expected a TIFF of 8 or 16 bits a sample, got 16 bits (INT): {PLAIN}"),
        (
            tiff(GREY, compression="lzma"),
            f"expected a TIFF without compression, or with LZW, Deflate or PackBits, got LZMA compression: {PLAIN}",
        ),
        (
            tiff(ALPHA, extrasamples=["unassalpha"], compression="zlib"),
            f"expected a compressed TIFF without an alpha channel, got compression and an alpha channel: {PLAIN}",
        ),
        (
            tiff(np.moveaxis(DEEP_COLOUR, 2, 0), planarconfig="separate", compression="zlib"),
            "expected a compressed TIFF without separate colour planes, "
            f"got compression and separate colour planes: {PLAIN}",
        ),
        (
            tiff(GREY, photometric="miniswhite", compression="zlib"),
            f"expected a compressed TIFF without white as zero, got compression and white as zero: {PLAIN}",
        ),
        (
            tiff(GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
            f"expected a grey or RGB TIFF, got PALETTE with 1 samples a pixel: {PLAIN}",
        ),
        (
            tiff(np.stack([GREY, GREY]), photometric="minisblack"),
            "expected one image in a TIFF, got several pages: save each page as a file of its own",
        ),
    ],
)  # fmt: skip
def test_tiffs_no_camera_writes_are_refused(save, encoded, expected):
    assert reason(save(encoded)) == expected


def test_a_thumbnail_page_does_not_matter(save):
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, metadata=None)
        writer.write(GREY[::4, ::4].copy(), metadata=None, subfiletype=1)
    assert read_native(save(buffer.getvalue())).shape == (120, 90, 3)


def test_a_required_image_names_its_file(save):
    path = save(b"", "part_17.png")
    with pytest.raises(ImageError) as caught:
        require_image(path, SPEC)
    assert str(caught.value) == (f"expected an image, got an empty file in {path}: copy the file again from its source")
    assert caught.value.path == path
    with pytest.raises(ImageError, match="empty file"):
        read_native(path)
