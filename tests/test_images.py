"""Decode and resize: every format and depth, and every way a file can be bad."""

import hashlib
import os
import struct
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ImageError, StorageError
from pipeline.imaging.images import (
    DecodedImage,
    ImageLimits,
    PreprocessSpec,
    UnreadableImage,
    iter_image_files,
    open_image,
    read_image,
    read_mask,
    read_native,
    require_image,
    sha256_file,
    suggest_white_level,
)
from pipeline.imaging.orientation import exif_orientation

SPEC = PreprocessSpec(height=32, width=48)
TURNED = {  # what the viewer sees, from what is stored
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def picture(height: int = 120, width: int = 90, seed: int = 0) -> np.ndarray:
    """Smooth colours without any symmetry, uint8 RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def png(pixels_rgb: np.ndarray) -> bytes:
    if pixels_rgb.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels_rgb.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels_rgb = cv2.cvtColor(pixels_rgb, code)
    return cv2.imencode(".png", pixels_rgb)[1].tobytes()


def bmp(pixels_rgb: np.ndarray) -> bytes:
    return cv2.imencode(".bmp", pixels_rgb if pixels_rgb.ndim == 2 else pixels_rgb[:, :, ::-1])[1].tobytes()


def tiff(pixels: np.ndarray, *, byteorder=None, bigtiff=False, **options) -> bytes:
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=byteorder, bigtiff=bigtiff) as writer:
        writer.write(pixels, metadata=None, **options)
    return buffer.getvalue()


def jpeg(pixels_rgb: np.ndarray, quality: int = 95) -> bytes:
    grey = pixels_rgb.ndim == 2
    pixels = np.ascontiguousarray(pixels_rgb[:, :, None] if grey else pixels_rgb)
    return simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace="GRAY" if grey else "RGB", colorsubsampling="Gray" if grey else "444"
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, bits: int = 8, colour_type: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))


def exif_block(orientation: int, order: str = "<") -> bytes:
    magic = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return magic + struct.pack(f"{order}HIH", 42, 8, 1) + entry + bytes(4)


def jpeg_with_exif(data: bytes, exif: bytes) -> bytes:
    body = b"Exif\x00\x00" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png_with_exif(data: bytes, exif: bytes) -> bytes:
    return data[:33] + png_chunk(b"eXIf", exif) + data[33:]


def cmyk_jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8)
    return simplejpeg.encode_jpeg(pixels, colorspace="CMYK", colorsubsampling="444")


@pytest.fixture
def save(tmp_path):
    def write(data: bytes, name: str = "image.png") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def reason(path: Path, limits: ImageLimits | None = None) -> str:
    result = read_image(path, SPEC, limits or ImageLimits())
    assert isinstance(result, UnreadableImage), result
    return result.reason


GREY = picture()[:, :, 0].copy()
DEEP = GREY.astype(np.uint16) * 257
DEEP_COLOUR = picture().astype(np.uint16) * 257
ALPHA = np.dstack([picture(), np.full((120, 90), 7, np.uint8)])


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        pytest.param(png(picture()), picture(), id="png colour"),
        pytest.param(png(GREY), GREY, id="png mono"),
        pytest.param(png(ALPHA), picture(), id="png alpha"),
        pytest.param(png(DEEP), GREY, id="png mono 16"),
        pytest.param(png(DEEP_COLOUR), picture(), id="png colour 16"),
        pytest.param(bmp(picture()), picture(), id="bmp colour"),
        pytest.param(bmp(GREY), GREY, id="bmp mono"),
        pytest.param(
            cv2.imencode(".bmp", cv2.cvtColor(ALPHA, cv2.COLOR_RGBA2BGRA))[1].tobytes(), picture(), id="bmp 32"
        ),
        pytest.param(tiff(picture()), picture(), id="tiff colour"),
        pytest.param(tiff(GREY), GREY, id="tiff mono"),
        pytest.param(tiff(DEEP), GREY, id="tiff mono 16"),
        pytest.param(tiff(DEEP, byteorder=">"), GREY, id="tiff mono 16 big-endian"),
        pytest.param(tiff(DEEP, bigtiff=True), GREY, id="bigtiff mono 16"),
        pytest.param(tiff(DEEP_COLOUR), picture(), id="tiff colour 16"),
        pytest.param(tiff(ALPHA, extrasamples=["unassalpha"]), picture(), id="tiff alpha"),
        pytest.param(tiff(np.moveaxis(picture(), 2, 0), planarconfig="separate"), picture(), id="tiff planes"),
        pytest.param(
            tiff(np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig"), GREY, id="tiff LA"
        ),
        pytest.param(tiff(GREY, photometric="miniswhite"), 255 - GREY, id="tiff white is zero"),
        pytest.param(tiff(picture(), tile=(32, 32)), picture(), id="tiff tiles"),
        pytest.param(tiff(picture(), rowsperstrip=7), picture(), id="tiff strips"),
        pytest.param(tiff(picture(), compression="zlib"), picture(), id="tiff deflate"),
        pytest.param(tiff(DEEP, compression="zlib", predictor=True), GREY, id="tiff deflate 16 predictor"),
        pytest.param(tiff(DEEP_COLOUR, compression="zlib"), picture(), id="tiff deflate colour 16"),
        pytest.param(cv2.imencode(".tiff", picture()[:, :, ::-1])[1].tobytes(), picture(), id="tiff lzw"),
        pytest.param(cv2.imencode(".tiff", DEEP)[1].tobytes(), GREY, id="tiff lzw 16"),
    ],
)
def test_lossless_formats_come_back_exactly(save, encoded, expected):
    path = save(encoded, "name.jpg")  # the suffix says nothing
    rgb = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    native = read_native(path)
    np.testing.assert_array_equal(native, rgb)
    decoded = require_image(path, SPEC)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.source_size == (120, 90)
    area = cv2.resize(rgb, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.pixels.astype(int) - area).max() <= 1  # deep pixels round once, after the resize
    header = open_image(encoded)
    assert header.bit_depth == decoded.bit_depth == (16 if header.decode(0, 0).dtype == np.uint16 else 8)
    assert header.channels == (1 if header.decode(0, 0).ndim == 2 else header.decode(0, 0).shape[2])


@pytest.mark.parametrize("pixels", [GREY, picture()], ids=["mono", "colour"])
def test_jpeg(save, pixels):
    native = read_native(save(jpeg(pixels)))
    rgb = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    assert np.abs(native.astype(int) - rgb).mean() < 2
    assert open_image(jpeg(pixels)).channels == (1 if pixels.ndim == 2 else 3)


@pytest.mark.parametrize("size", [(512, 640), (1000, 700), (600, 2000), (1024, 1024)])
def test_scaled_jpeg_decode_is_within_a_grey_level_of_a_full_one(save, size):
    noise = np.random.default_rng(1).normal(0, 5, (*size, 3))
    noisy = np.clip(picture(*size) + noise, 0, 255).astype(np.uint8)
    path = save(jpeg(noisy, quality=90))
    spec = PreprocessSpec(height=64, width=80)
    scaled = require_image(path, spec)
    full = cv2.resize(read_native(path), (80, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(scaled.pixels.astype(int) - full).mean() < 1
    assert scaled.source_size == size
    decoded = open_image(path.read_bytes()).decode(128, 160)
    assert decoded.shape[0] < size[0], "the decoder did not scale"
    assert decoded.shape[0] >= 128
    assert decoded.shape[1] >= 160


def test_a_palette_png_is_its_colours(save):
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    rows = b"".join(b"\x00" + bytes([0b01010101] * 4) for _ in range(20))
    data = (
        png_header(32, 20, bits=1, colour_type=3)
        + palette
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
    native = read_native(save(data))
    np.testing.assert_array_equal(native[0, :2], [[10, 20, 30], [200, 100, 50]])
    assert open_image(data).channels == 3


@pytest.mark.parametrize(("colour_type", "transparent", "channels"), [(0, b"\0\5", 1), (2, b"\0\5" * 3, 4)])
def test_a_transparent_colour_is_no_other_picture(save, colour_type, transparent, channels):
    samples = 1 if colour_type == 0 else 3
    rows = b"".join(b"\x00" + bytes(range(20 * samples)) for _ in range(20))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    data = png_header(20, 20, colour_type=colour_type) + png_chunk(b"tRNS", transparent) + body
    expected = np.repeat(np.arange(20)[:, None], 3, 1) if samples == 1 else np.arange(60).reshape(20, 3)
    np.testing.assert_array_equal(read_native(save(data))[0], expected)
    assert open_image(data).channels == channels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "label",
    [
        pytest.param(lambda data, o: jpeg_with_exif(jpeg(data), exif_block(o)), id="jpeg"),
        pytest.param(lambda data, o: jpeg_with_exif(jpeg(data), exif_block(o, ">")), id="jpeg big-endian"),
        pytest.param(lambda data, o: png_with_exif(png(data), exif_block(o)), id="png"),
        pytest.param(lambda data, o: tiff(data, extratags=[(274, "H", 1, o, True)]), id="tiff"),
        pytest.param(
            lambda data, o: tiff(data, extratags=[(274, "H", 1, o, True)], compression="zlib"), id="tiff deflate"
        ),
    ],
)
def test_orientation_is_applied(save, orientation, label):
    stored = picture(200, 150)
    path = save(label(stored, orientation))
    upright = np.ascontiguousarray(TURNED[orientation](stored))
    native = read_native(path)
    assert native.shape == upright.shape
    assert np.abs(native.astype(int) - upright).mean() < 2
    decoded = require_image(path, SPEC)
    assert decoded.source_size == upright.shape[:2]
    area = cv2.resize(upright, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.pixels.astype(int) - area).mean() < 2


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"II*\x00\x08\x00\x00\x00" + tail))
@settings(database=None, deadline=None)
def test_any_exif_block_gives_an_orientation(block):
    assert exif_orientation(block) in range(1, 9)


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\x00", exif_block(0), exif_block(9), exif_block(6)[:-8], b"XX" + exif_block(6)[2:],
     exif_block(6).replace(b"\x03\x00\x01", b"\x04\x00\x01"), b"II*\x00\xff\xff\xff\xff" + bytes(20)],
)  # fmt: skip
def test_a_malformed_exif_block_means_upright(save, block):
    stored = picture()
    assert read_native(save(jpeg_with_exif(jpeg(stored), block))).shape == stored.shape
    assert exif_orientation(block) == 1


def test_deep_pixels_map_white_level_to_255_and_saturate(save):
    ramp = np.tile(np.array([0, 16, 2047, 4095, 5000, 65535], np.uint16).repeat(8), (32, 1))
    path = save(tiff(ramp))
    twelve_bit = require_image(path, PreprocessSpec(height=32, width=48, white_level=4095)).pixels
    np.testing.assert_array_equal(twelve_bit[0, ::8, 0], [0, 1, 127, 255, 255, 255])
    full_range = require_image(path, PreprocessSpec(height=32, width=48)).pixels
    np.testing.assert_array_equal(full_range[0, ::8, 0], [0, 0, 8, 16, 19, 255])
    np.testing.assert_array_equal(read_native(path, white_level=4095), twelve_bit)


def test_white_level_leaves_8_bit_images_alone(save):
    path = save(png(GREY))
    with_level = require_image(path, PreprocessSpec(height=32, width=48, white_level=4095))
    np.testing.assert_array_equal(with_level.pixels, require_image(path, SPEC).pixels)


@pytest.mark.parametrize(("height", "width"), [(64, 24), (24, 64), (20, 20), (32, 48), (400, 16)])
def test_any_aspect_is_resized_without_aliasing(save, height, width):
    flat = np.full((height, width, 3), 128, np.uint8)
    flat[::2] += 20  # alternate rows: sampled instead of averaged, they would come out as stripes
    flat[:, ::2] -= 20
    pixels = require_image(save(png(flat)), SPEC).pixels
    assert pixels.shape == (32, 48, 3)
    if height >= 2 * 32 and height % 32 == 0:
        averaged = flat.reshape(32, height // 32, width, 3).mean(1)
        assert np.ptp(pixels[:, 0].astype(int)) <= 1
        assert abs(pixels.mean() - averaged.mean()) < 1
    if (height, width) == (32, 48):
        np.testing.assert_array_equal(pixels, flat)


@pytest.mark.parametrize("kwargs", [{"height": 0, "width": 8}, {"height": 8, "width": 8, "white_level": 0}])
def test_an_impossible_spec_is_refused(kwargs):
    with pytest.raises(ConfigError):
        PreprocessSpec(**kwargs)


def test_the_hash_is_of_the_bytes(save):
    path = save(png(GREY))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    result = read_image(path, SPEC)
    assert isinstance(result, DecodedImage)
    assert result.sha256 == require_image(path, SPEC).sha256 == sha256_file(path) == expected
    damaged = save(b"nothing useful", "text.png")
    unreadable = read_image(damaged, SPEC)
    assert unreadable.sha256 == sha256_file(damaged)
    assert unreadable.path == damaged


def test_threads_agree_with_one_another(save):
    paths = [save(jpeg(picture(300, 200, seed)), f"{seed}.jpg") for seed in range(8)]
    alone = [require_image(path, SPEC).pixels for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: require_image(path, SPEC).pixels, paths * 4))
    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 8])


# Bad files


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
    assert "no such file" in reason(broken)
    assert "Too many levels of symbolic links" in reason(loop)


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


@pytest.mark.parametrize("format_name", [*ENCODINGS, "TIFF deflate"])
@given(data=st.data())
@settings(database=None, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    result = read_image(tmp_path / "lies.tiff", SPEC)
    assert isinstance(result, UnreadableImage)
    assert "not what its directory says" in result.reason


@pytest.mark.parametrize("format_name", [*ENCODINGS, "TIFF deflate", "PNG 16", "EXIF"])
@given(data=st.data())
@settings(database=None, deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        "save a smaller image or raise the limit"
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


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(513 * 1024 * 1024)
    result = read_image(path, SPEC)
    assert isinstance(result, UnreadableImage)
    assert result.sha256 is None
    assert result.reason == (
        "expected at most 536,870,912 bytes, got 537,919,488 bytes: save a smaller image or raise the limit"
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


# Masks


def test_a_mask_is_whatever_is_not_zero(save):
    mask = np.zeros((30, 40), np.uint8)
    mask[3:9, 5:7] = 1
    np.testing.assert_array_equal(read_mask(save(png(mask)), (30, 40)), mask != 0)
    coloured = np.dstack([mask * 0, mask * 200, mask * 0, np.full_like(mask, 255)])  # alpha is no defect
    result = read_mask(save(png(coloured)), (30, 40))
    np.testing.assert_array_equal(result, mask != 0)
    assert result.dtype == np.bool_
    tiny = np.ones((2, 3), np.uint8)
    assert read_mask(save(bmp(tiny)), (2, 3)).all()


def test_a_mask_must_fit_its_image(save):
    path = save(png(np.zeros((30, 40), np.uint8)), "001_mask.png")
    with pytest.raises(ImageError) as caught:
        read_mask(path, (30, 41))
    assert str(caught.value) == (
        f"expected a mask of its image's size, 30 x 41 pixels, got 30 x 40 pixels in {path}: "
        "save the mask at the image's size"
    )


def test_a_jpeg_is_no_mask(save):
    with pytest.raises(ImageError, match="expected a lossless mask, got a JPEG, whose noise is not zero"):
        read_mask(save(jpeg(GREY)), (120, 90))


# White level


@pytest.mark.parametrize(
    ("brightest", "level"),
    [(0, 255), (255, 255), (256, 1023), (4000, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_white_level_covers_the_brightest_pixel(save, brightest, level):
    deep = np.zeros((20, 20), np.uint16)
    deep[3, 4] = brightest
    paths = [save(png(deep), "a.png"), save(tiff(deep * 0), "b.tiff"), save(png(GREY), "c.png")]
    assert suggest_white_level(paths) == level


def test_8_bit_images_have_no_white_level(save):
    assert suggest_white_level([save(png(GREY))]) is None
    assert suggest_white_level([]) is None
    with pytest.raises(ImageError, match="empty file"):
        suggest_white_level([save(b"")])


# Folders


def test_image_files_are_found_in_order(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "day2/z.tiff", "day1/b.bmp", ".cache/x.png", "c.jpeg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "day1" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone")
    (tmp_path / "linked").symlink_to(tmp_path / "day2")  # already entered
    found = [path.relative_to(tmp_path).as_posix() for path in iter_image_files(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "broken.png", "c.jpeg", "day1/b.bmp", "day2/z.tiff", "self.png"]


def test_a_linked_folder_is_entered(tmp_path):
    outside = tmp_path / "archive"
    outside.mkdir()
    (outside / "a.png").touch()
    line = tmp_path / "line"
    line.mkdir()
    (line / "today").symlink_to(outside)
    assert list(iter_image_files(line)) == [line / "today" / "a.png"]


def test_a_missing_folder_is_named_at_once(tmp_path):
    with pytest.raises(StorageError, match="expected a folder of images, got no such folder at"):
        iter_image_files(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="got a file at"):
        iter_image_files(tmp_path / "file")
