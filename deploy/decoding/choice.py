"""The machine's JPEG decoder, opened before anything is scored. Torch-free until nvJPEG is asked for.

Scoring alone may take another decoder than libjpeg; what it does to pixels is compared with libjpeg when it is opened.
"""

from __future__ import annotations

from importlib import import_module

from deploy.decoding.agreement import Agreement
from pipeline.errors import ConfigError
from pipeline.imaging.images import Opener, open_image
from pipeline.settings import JpegDecoder

_OWN_PACKAGES = ("pipeline", "deploy")


def image_opener(wanted: JpegDecoder) -> Opener:
    """What scoring opens files with. nvJPEG, when asked for, works or is an error: libjpeg never stands in for it here.

    Raises:
        ConfigError, DeviceError, ParityError: as `open_nvjpeg`.
    """
    return open_image if wanted is JpegDecoder.LIBJPEG else open_nvjpeg()[0]


def open_nvjpeg(device: str = "cuda") -> tuple[Opener, Agreement]:
    """nvJPEG, seen to work on `device`, and how far its pixels are from libjpeg's.

    Raises:
        ConfigError: torch or torchvision is not installed, or cannot be imported.
        DeviceError: there is no GPU that torch can use, or this torchvision cannot decode on it.
        ParityError: its pixels are too far from libjpeg's.
    """
    try:
        module = import_module("deploy.decoding.nvjpeg")
    except (ImportError, OSError, RuntimeError) as error:  # not installed; a library is missing; versions do not fit
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _OWN_PACKAGES:
            raise
        raise ConfigError(
            "torch and torchvision, through which nvJPEG is used",
            f"'{(str(error).strip() or type(error).__name__).splitlines()[0]}'",
            "pip install 'linewise[train]', or unset LINEWISE_JPEG_DECODER",
        ) from error
    return module.open_nvjpeg(device)
