"""GenICam cameras, by the simulated one that the standard's Python binding brings along."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from deploy.scoring.image_result import FileStatus
from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.genicam import GenicamCamera, _Acquisition, _item
from deploy.scoring.sources.source import SourceItem
from pipeline.errors import ConfigError, DeviceError, ImageError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import ImageLimits

NAME = "VikyTL_DEV_red"


@pytest.fixture
def producer(monkeypatch):
    pytest.importorskip("harvesters", reason="linewise[genicam] is not installed")
    genicam = pytest.importorskip("genicam")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", genicam.__path__[0])


def frames(source: GenicamCamera, count: int) -> list[SourceItem]:
    items = source.items()
    found = list(itertools.islice((item for item in items if item is not None), count))
    source.stop()
    assert not list(items), "it has come to its end"
    return found


@pytest.mark.usefixtures("producer")
def test_a_camera_is_scored_until_it_is_stopped(plant):
    source = open_source(f"genicam:{NAME}", sampling=Sampling(frames=2))
    assert isinstance(source, GenicamCamera)
    seen = []

    def take(result, _view):
        seen.append(result)
        if len(seen) == 3:
            source.stop()

    plant.score_source(source, on_result=take)
    assert [result.status for result in seen[:3]] == [FileStatus.SCORED] * 3
    assert seen[0].name == f"genicam:{NAME}#0"
    assert seen[0].size == (400, 400)
    assert [int(result.name.partition("#")[2]) % 2 for result in seen] == [0] * len(seen)


@pytest.mark.usefixtures("producer")
@pytest.mark.parametrize(("pixel_format", "shape"), [("RGBa8", (400, 400, 3)), ("Mono8", (400, 400))])
def test_pixels_come_as_the_camera_sends_them(pixel_format, shape):
    source = open_source("genicam:1")  # by its serial number
    assert isinstance(source, GenicamCamera)
    assert isinstance(source._feed, _Acquisition)
    acquirer = source._feed._acquirer
    acquirer.stop()  # what its maker's software does in between
    acquirer.remote_device.node_map.PixelFormat.value = pixel_format
    acquirer.start()
    (item,) = frames(source, 1)
    assert item.frame is not None
    assert (item.frame.shape, item.frame.dtype, item.mosaic) == (shape, np.uint8, None)
    assert len(np.unique(item.frame)) > 1, "a picture"


@pytest.mark.usefixtures("producer")
def test_a_camera_opens_again_after_its_connection_was_closed():
    source = open_source(f"genicam:{NAME}")
    assert isinstance(source, GenicamCamera)
    for _ in range(2):
        feed = source._feed
        assert any(feed.grab() for _ in range(20))
        assert feed.retrieve("a") is not None
        feed.close()
        again = source._open()
        assert again is not None
        source._feed = again
    source._feed.close()


@pytest.mark.usefixtures("producer")
def test_a_camera_that_breaks_off_with_a_frame_in_hand_is_opened_again(monkeypatch):
    monkeypatch.setattr("deploy.scoring.sources.live_frames._FIRST_RETRY_SECONDS", 0.01)
    source = open_source(f"genicam:{NAME}")
    assert isinstance(source, GenicamCamera)
    feed = source._feed
    assert isinstance(feed, _Acquisition)
    assert any(feed.grab() for _ in range(20))
    for stream in feed._acquirer.data_streams:
        stream.close()
    assert frames(source, 1)
    assert source.remarks == [f"genicam:{NAME} broke off once; it was opened again."]
    assert not feed._harvester.files, "its producers are let go"


@pytest.mark.usefixtures("producer")
def test_a_camera_that_is_not_there_is_told_with_those_that_are(tmp_path, monkeypatch):
    with pytest.raises(DeviceError) as caught:
        open_source("genicam:7")
    assert str(caught.value) == (
        "expected a camera 7, got none that opens; there are VikyTL_DEV_red, VikyTL_DEV_green, VikyTL_DEV_blue: "
        "check its cable, and that no other program has it"
    )
    with pytest.raises(ConfigError, match="leave watch out"):
        open_source("genicam:7", watch=True)
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"expected a GenTL producer \(.cti\) in a folder of GENICAM_GENTL64_PATH"):
        open_source("genicam:7")


@pytest.mark.skipif(find_spec("harvesters") is not None, reason="linewise[genicam] is installed")
def test_what_is_missing_to_read_one_is_told():
    with pytest.raises(ConfigError) as caught:
        open_source("genicam:1")
    assert str(caught.value) == (
        "expected harvesters, to read a GenICam camera, got none: pip install 'linewise[genicam]'"
    )


def component(pixel_format: str, pixels: np.ndarray) -> SimpleNamespace:
    """A buffer's part as harvesters has it, of pixel formats that the simulated camera does not send."""
    height, width = pixels.shape[:2]
    return SimpleNamespace(height=height, width=width, data_format=pixel_format, data=pixels.ravel())


def test_colours_are_put_blue_first_and_mosaics_keep_their_pattern():
    limits = ImageLimits()
    colours = np.arange(32 * 32 * 4, dtype=np.uint16).reshape(32, 32, 4)
    for pixel_format, order in (("RGBa12", [2, 1, 0]), ("BGRa10p", [0, 1, 2])):
        item = _item("a", component(pixel_format, colours), limits)
        assert item.frame is not None
        np.testing.assert_array_equal(item.frame, colours[:, :, order])
        assert item.frame.dtype == np.uint16
    mosaic = _item("a", component("BayerGB12p", colours[:, :, 0]), limits)
    assert mosaic.mosaic is BayerPattern.GBRG
    with pytest.raises(ImageError, match="expected a camera that sends Mono, Bayer, RGB or BGR, got Coord3D_ABC32f"):
        _item("a", component("Coord3D_ABC32f", colours), limits)
    with pytest.raises(ImageError, match="expected frames without padding, got 4,096 values of Mono8 for 32 x 32"):
        _item("a", component("Mono8", colours), limits)
