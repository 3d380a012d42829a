"""LINEWISE_MAX_PIXELS: every reader honours it, and names it where it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.scoring.sources.choose import open_source
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import (
    DecodedImage,
    UnreadableImage,
    image_limits,
    open_image,
    read_image,
    read_native,
    read_size,
    require_image,
)
from pipeline.imaging.masks import read_mask
from pipeline.product_lines.examined_images import examine_images
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.lines import ImageRecord
from pipeline.support import read_defect_mask
from tests.parts.image_files import SPEC, jpeg, picture, png, tiff

TOO_LARGE = "at most 10,000 pixels"  # a picture has 120 x 90
READERS = {
    "read_image": lambda path: read_image(path, SPEC),
    "require_image": lambda path: require_image(path, SPEC),
    "read_native": read_native,
    "read_size": read_size,
    "read_mask": lambda path: read_mask(path, (120, 90)),
    "read_defect_mask": lambda path: read_defect_mask(ImageRecord(path, "line", "crack", path)),
    "open_image": lambda path: open_image(path.read_bytes()),
    "examine_images": lambda path: examine_images([ImageRecord(path, "line", "good")])[0],
}


def outcome(reader: str, path: Path) -> str:
    try:
        result = READERS[reader](path)
    except ImageError as error:
        return str(error)
    return result.reason if isinstance(result, UnreadableImage) else ""


def test_a_file_whose_size_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=f"got an empty file in {path}: copy"):
        read_size(path)


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_honours_the_setting(save, monkeypatch, reader):
    path = save(png(picture()))
    assert outcome(reader, path) == ""
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", "10000")
    refused = outcome(reader, path)
    assert "expected at most 10,000 pixels, got 120 x 90 pixels = 10,800" in refused
    assert refused.endswith(": save a smaller image or set LINEWISE_MAX_PIXELS higher, where memory allows")


def test_checks_of_a_line_and_frames_of_a_video_honour_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", "10000")
    (tmp_path / "good").mkdir()
    (tmp_path / "good/0.png").write_bytes(png(picture()))
    assert "LINEWISE_MAX_PIXELS" in check_line(tmp_path).unreadable[0].reason
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (90, 120))
    writer.write(picture())
    writer.release()
    with pytest.raises(ImageError, match="LINEWISE_MAX_PIXELS"):
        open_source(clip)


@pytest.mark.parametrize("encode", [tiff, lambda pixels: tiff(pixels, compression="zlib"), png, jpeg])
def test_a_line_scan_of_more_than_100_million_pixels_is_read_where_the_setting_allows(save, monkeypatch, encode):
    path = save(encode(np.full((16_000, 6_400), 90, np.uint8)))
    assert "expected at most 100,000,000 pixels, got 16000 x 6400 pixels = 102,400,000" in outcome("read_image", path)
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", "200000000")
    result = read_image(path, SPEC)
    assert isinstance(result, DecodedImage)
    assert (result.pixels == 90).all()


def test_a_longer_file_is_read_where_more_pixels_are(tmp_path, monkeypatch):
    path = tmp_path / "sparse.tif"
    with path.open("wb") as file:
        file.truncate(600_000_001)
    with pytest.raises(ImageError, match="LINEWISE_MAX_PIXELS"):
        read_bytes(path, image_limits().max_bytes)
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", "200000000")
    assert image_limits().max_bytes == 1_200_000_000


@pytest.mark.parametrize("value", ["many", "0", "2000000000"])
def test_a_value_out_of_range_is_refused(monkeypatch, value):
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", value)
    with pytest.raises(ConfigError, match="LINEWISE_MAX_PIXELS"):
        image_limits()
