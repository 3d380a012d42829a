"""JPEGs decoded by nvJPEG, through torchvision: at full size, then halved on the GPU. Needs torch.

Headers and limits are checked before (`open_image`), and all that follows is the shared path on the CPU: nvJPEG only
gives another `decode`. It cannot scale while it decodes, so the GPU halves, with the same rounded means of 2 x 2 pixels
as `resize`. That is not what libjpeg's scaled decoding does. Measured without nvJPEG itself, on 16 JPEGs of 1 Mpx of
each of three generated lines, in 4:4:4 and 4:2:0, at 256 px: 0.14 to 0.27 grey levels apart on average, 3 at most; a
memory bank's image scores moved by up to a third of the good images' standard deviation, and no decision changed
(benchmarks/jpeg_decoding.py).

What nvJPEG does not get, or fails on, libjpeg decodes: it has the same picture, and says what is wrong with a damaged
file. nvJPEG is not as strict as libjpeg, so a file without its end marker is not given to it; what it cannot see is
damage within a file that has its end, where libjpeg may still refuse.

torchvision has deprecated its decoders since 0.29 in favour of TorchCodec's: a newer torchvision needs a change here.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from deploy.decoding.agreement import Agreement, compare_with_libjpeg
from pipeline.errors import DeviceError
from pipeline.imaging.encoded import EncodedImage, Pixels
from pipeline.imaging.images import ImageLimits, Opener, open_image
from pipeline.imaging.jpeg import is_plain
from pipeline.imaging.resizing import halvings

log = logging.getLogger(__name__)

_UNSET = "mend that, or unset LINEWISE_JPEG_DECODER"


def open_nvjpeg(device: str) -> tuple[Opener, Agreement]:
    """nvJPEG, seen to work on `device`, and how far its pixels are from libjpeg's.

    Args:
        device: "cuda"; on "cpu" torchvision decodes with its own libjpeg, and all else is the same.

    Raises:
        DeviceError: torch cannot use the device, or torchvision not decode on it.
        ParityError: its pixels are too far from libjpeg's.
    """
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        got = f"none ({_first(error).split('. ')[0]})"
        raise DeviceError("a GPU that torch can use, for nvJPEG", got, _UNSET) from error
    decoder = NvJpeg(device)
    try:
        agreement = compare_with_libjpeg(decoder.open_strictly)
    except RuntimeError as error:  # such as a torchvision that was built without nvJPEG
        raise DeviceError("nvJPEG to decode generated JPEGs", f"'{_first(error)}'", _UNSET) from error
    log.info("JPEGs are decoded by nvJPEG, %s", agreement)
    return decoder.open, agreement


class NvJpeg:
    """Opens files so that JPEGs are decoded on `device`. Threads share one."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        # torchvision decodes one image at a time anyway, and does so on a stream of its own: it may write into memory
        # that work of another thread still reads (pytorch/vision#9606). Here none is left when the lock is let go.
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def open(self, data: bytes, limits: ImageLimits) -> EncodedImage:
        """As `open_image`; a JPEG's pixels come from nvJPEG where that can decode it, else from libjpeg.

        Raises:
            ImageError: the file cannot be used.
            DeviceError: (when decoding) the GPU has failed for good.
        """
        encoded = open_image(data, limits)
        if encoded.format != "JPEG":
            return encoded
        return replace(encoded, decode=lambda height, width: self._decode(data, encoded, height, width))

    def open_strictly(self, data: bytes, limits: ImageLimits) -> EncodedImage:
        """As `open`, without libjpeg behind it: decoding raises torchvision's `RuntimeError`."""
        encoded = open_image(data, limits)
        return replace(encoded, decode=lambda height, width: self._on_device(data, encoded, height, width))

    def _decode(self, data: bytes, encoded: EncodedImage, least_height: int, least_width: int) -> Pixels:
        if not is_plain(data):
            pixels = encoded.decode(least_height, least_width)
            self._tell("not a baseline JPEG in grey or YCbCr")
            return pixels
        try:
            return self._on_device(data, encoded, least_height, least_width)
        except RuntimeError as error:  # the only kind that torchvision and torch raise, also for too little memory
            self._require_device(error)
            pixels = encoded.decode(least_height, least_width)  # refuses a damaged file
            self._tell("nvJPEG failed", _first(error))
            return pixels

    def _on_device(self, data: bytes, encoded: EncodedImage, least_height: int, least_width: int) -> Pixels:
        stored = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        grey = encoded.channels == 1
        with self._lock:
            pixels_CHW = decode_jpeg(stored, ImageReadMode.GRAY if grey else ImageReadMode.RGB, self._device)
            assert isinstance(pixels_CHW, Tensor)
            if pixels_CHW.shape[1:] != (encoded.height, encoded.width):
                raise RuntimeError(f"pixels of shape {tuple(pixels_CHW.shape)}")
            for _ in range(halvings(encoded.height, encoded.width, least_height, least_width)):
                pixels_CHW = halved(pixels_CHW)
            pixels_HWC = pixels_CHW.permute(1, 2, 0).contiguous().cpu().numpy()  # waits until all of it is done
        return pixels_HWC[:, :, 0] if grey else pixels_HWC

    def _require_device(self, error: RuntimeError) -> None:
        """A GPU that has failed as such fails for every later image too: that ends the run."""
        try:
            torch.get_device_module(self._device).synchronize()
        except RuntimeError:
            got = f"one that failed ({_first(error)})"
            remedy = "look into the driver's log, then score again: what was scored is kept"
            raise DeviceError("a GPU that decodes JPEGs", got, remedy) from error

    def _tell(self, kind: str, more: str = "") -> None:
        """Say once of each kind why libjpeg decodes images."""
        with self._lock:
            if kind in self._told:
                return
            self._told.add(kind)
        log.warning("libjpeg decodes an image, and all others like it: %s%s", kind, f" ({more})" if more else "")


def halved(pixels_CHW: Tensor) -> Tensor:
    """uint8 (C, H, W) of even sides to (C, H/2, W/2): means of 2 x 2 pixels, rounded half up as OpenCV's AREA does."""
    _, height, width = pixels_CHW.shape
    squares = pixels_CHW.unflatten(1, (height // 2, 2)).unflatten(3, (width // 2, 2))
    return ((squares.sum(dim=(2, 4), dtype=torch.int16) + 2) >> 2).to(torch.uint8)


def _first(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]
