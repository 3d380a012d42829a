"""Cameras that speak GenICam (GigE Vision, USB3 Vision, frame grabbers), through their maker's GenTL producer.

A producer is a library (.cti) that a camera's software installs; by the standard the variable GENICAM_GENTL64_PATH
names the folders in which producers lie. `harvesters` loads them and hands frames over, packed pixels unpacked.
"""

from __future__ import annotations

import importlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.live_frames import LiveFrames
from deploy.scoring.sources.source import SourceItem
from pipeline.errors import ConfigError, DeviceError, ImageError, LinewiseError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import ImageLimits, check_size, image_limits

_PRODUCERS = "GENICAM_GENTL64_PATH"
_FETCH_SECONDS = 0.25
_NAMES = ("id_", "serial_number", "user_defined_name")  # by which people know a camera
_FORMAT = re.compile(r"(Mono|BayerRG|BayerBG|BayerGR|BayerGB|RGBa?|BGRa?)(\d+)p?")
_MOSAICS = {f"Bayer{pattern[:2]}": pattern for pattern in BayerPattern}


class GenicamCamera(LiveFrames):
    """The frames of a camera until it is stopped; a frame is called `genicam:NAME#120`.

    Pixels come as the camera sends them: 8 bits, or 10 to 16, and mosaics with their pattern.

    Args:
        camera: its serial number, its producer's ID for it, or the name that a person gave it.
        sampling: which frames.
        limits: on the size of frames; None: what this machine is set to.

    Raises:
        ConfigError: harvesters is not installed.
        DeviceError: there is no producer, or no such camera.
    """

    def __init__(self, camera: str, sampling: Sampling, limits: ImageLimits | None = None) -> None:
        self._camera, self._limits = camera, limits or image_limits()
        try:
            self._gentl = importlib.import_module("genicam.gentl")  # extras: no import that a type checker follows
            self._harvesters = importlib.import_module("harvesters.core")
        except ImportError as error:
            raise ConfigError(
                "harvesters, to read a GenICam camera", "none", "pip install 'linewise[genicam]'"
            ) from error
        super().__init__(f"genicam:{camera}", sampling)

    def _open(self) -> _Acquisition | None:
        harvester = self._harvesters.Harvester()
        try:
            for producer in _producers():
                harvester.add_file(os.fspath(producer))
            harvester.update()
            found = [camera for camera in harvester.device_info_list if self._camera in _names(camera)]
            if found:
                return _Acquisition(harvester, found[0], self._gentl, self._limits)
        except self._gentl.GenericException:  # it went between the listing and the opening, or someone else has it
            pass
        except BaseException:
            harvester.reset()
            raise
        self._seen = [_names(camera)[0] for camera in harvester.device_info_list]
        harvester.reset()
        return None

    def _not_there(self) -> LinewiseError:
        there = f"none that opens; there are {', '.join(self._seen)}" if self._seen else "none that opens"
        return DeviceError(f"a camera {self._camera}", there, "check its cable, and that no other program has it")


class _Acquisition:
    """A `Feed`: a camera that sends."""

    def __init__(self, harvester: Any, camera: Any, gentl: Any, limits: ImageLimits) -> None:
        self._harvester, self._gentl, self._limits = harvester, gentl, limits
        self._acquirer = harvester.create(harvester.device_info_list.index(camera))
        self._buffer: Any = None
        self._acquirer.start()

    def grab(self) -> bool | None:
        self._give_back()
        try:
            self._buffer = self._acquirer.fetch(timeout=_FETCH_SECONDS)
        except self._gentl.TimeoutException:
            return None  # a camera that is triggered sends when a part comes
        except self._gentl.GenericException:
            return False
        return True

    def retrieve(self, name: str) -> SourceItem | None:
        components = self._buffer.payload.components
        if not components:
            return None  # a frame that came without its end
        return _item(name, components[0], self._limits)

    def close(self) -> None:
        self._give_back()
        for end in (self._acquirer.destroy, self._harvester.reset):
            with suppress(self._gentl.GenericException):  # it has gone, and with it what was to be ended
                end()

    def _give_back(self) -> None:
        """Let the producer fill the buffer again."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            with suppress(self._gentl.GenericException):  # broken off: the next grab says so
                buffer.queue()


def _item(name: str, component: Any, limits: ImageLimits) -> SourceItem:
    """A frame as an item. Its pixels are copied: the buffer is the producer's.

    Raises:
        ImageError: the camera sends what is no grey, Bayer or RGB picture, or one too large or too small.
    """
    height, width, pixel_format = int(component.height), int(component.width), str(component.data_format)
    found = _FORMAT.fullmatch(pixel_format)
    if found is None:
        remedy = "set PixelFormat in the camera's software"
        raise ImageError("a camera that sends Mono, Bayer, RGB or BGR", pixel_format, remedy)
    check_size(height, width, limits)
    colours = found[1]
    channels = len(colours) if colours.lower().startswith(("rgb", "bgr")) else 1
    pixels = np.asarray(component.data)
    if pixels.size != height * width * channels:
        got = f"{pixels.size:,} values of {pixel_format} for {width} x {height}"
        raise ImageError("frames without padding", got, "set PixelFormat or Width in the camera's software")
    frame = _blue_first(pixels.reshape(height, width, channels), colours)
    return SourceItem(name=name, path=None, frame=frame, mosaic=_MOSAICS.get(colours))


def _blue_first(pixels_HWC: NDArray[Any], colours: str) -> NDArray[Any]:
    if pixels_HWC.shape[2] == 1:
        return pixels_HWC[:, :, 0].copy()
    colour = pixels_HWC[:, :, :3]
    return np.array(colour[:, :, ::-1] if colours.startswith("RGB") else colour, order="C")


def _producers() -> list[Path]:
    """The producers that the machine's variable names.

    Raises:
        DeviceError: none.
    """
    folders = [Path(place) for place in os.environ.get(_PRODUCERS, "").split(os.pathsep) if place]
    producers = [producer for folder in folders for producer in sorted(folder.glob("*.cti"))]
    if not producers:
        got = f"none in {', '.join(map(str, folders))}" if folders else "none, as it is not set"
        remedy = "install the camera's software, which brings one, or name its folder there"
        raise DeviceError(f"a GenTL producer (.cti) in a folder of {_PRODUCERS}", got, remedy)
    return producers


def _names(camera: Any) -> tuple[str, ...]:
    """What a camera is called, its ID first."""
    known = camera.property_dict
    return tuple(str(known[name]) for name in _NAMES if known.get(name))
