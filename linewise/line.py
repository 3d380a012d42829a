"""A product line as an object: opened, or adapted from a few images, and then asked for one image or many."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from deploy.bundles.packs import Deployment, open_packed
from deploy.bundles.registry import Registry
from deploy.decoding.choice import image_opener
from deploy.engine.batches import padded
from deploy.engine.devices import open_device
from deploy.engine.limits import available_cpus
from deploy.scoring.line_engine import LineEngine, line_engine
from linewise.adapting import adapt_line, refuse_one_image
from linewise.result import Result
from pipeline.calibration import Threshold
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.arrays import array_image
from pipeline.imaging.encoded import EncodedImage
from pipeline.imaging.files import read_bytes
from pipeline.imaging.images import check_size, decode_opened, image_limits, naming
from pipeline.imaging.white_level import depth_problem
from pipeline.likeness import Seen
from pipeline.settings import Device, Settings, load_settings

log = logging.getLogger("linewise")

Image = NDArray[np.uint8] | NDArray[np.uint16] | bytes | str | os.PathLike[str]
"""An image: its pixels, uint8 or uint16, grey (H, W) or colour (H, W, 3); a file's bytes; or the path of a file."""

ColourOrder = Literal["rgb", "bgr"]
"""Which of an array's channels comes first: red, or blue as OpenCV has it."""


class Line:
    """One version of one line, ready to score. Threads may share it; a context manager.

    It stays with the version it was opened with: after a promotion, open the line anew. Scoring takes one CPU for each
    call, so throughput comes of several threads, or of `score_batch`.

    Args:
        deployment: the version's bundle and backbone, both checked.
        device: where to run, see `open`.
        settings: of this process.

    Raises:
        DeviceError: a device was named and does not work here.
    """

    def __init__(self, deployment: Deployment, device: Device | None, settings: Settings) -> None:
        bundle, self._limits = deployment.bundle, image_limits()
        self._bundle = bundle
        self._open_image = image_opener(settings.jpeg_decoder)
        self._device = open_device(device, settings)
        self._engine: LineEngine | None = line_engine(deployment, self._device)

    @classmethod
    def open(
        cls,
        source: str | os.PathLike[str],
        *,
        version: str | None = None,
        device: str | None = None,
        home: Path | None = None,
    ) -> Self:
        """A line that was adapted before.

        Args:
            source: the line's name in the registry; or, as a `Path`, a folder that `linewise export` wrote.
            version: of a registered line; None: the live one.
            device: cpu, cuda, tensorrt or auto. One that is named works or is an error, never a fallback. None, auto:
                what LINEWISE_DEVICE says, else the fastest that works; `device_note` tells which.
            home: of the registry; None: LINEWISE_HOME.

        Raises:
            ConfigError: no such line, version or device.
            BundleError: the bundle is damaged.
            DeviceError: the device is not there.
        """
        settings, wanted = load_settings(home), _device(device)
        if not isinstance(source, str):
            if version is not None:
                raise ConfigError("either a version or a bundle folder", "both", "leave one of them out")
            return cls(open_packed(Path(source)), wanted, settings)
        registry = Registry(settings.home)
        if source not in registry.lines() and Path(source).is_dir():
            remedy = "pass the folder as pathlib.Path, or a line that was adapted"
            raise ConfigError(f"a line of the registry at {settings.home}", f"the folder {source!r}", remedy)
        return cls(registry.deployment(source, version), wanted, settings)

    @classmethod
    def adapt(
        cls,
        name: str,
        good: Iterable[Image],
        defects: Iterable[Image] = (),
        masks: Sequence[Image | None] | None = None,
        *,
        colour_order: ColourOrder = "rgb",
        device: str | None = None,
        home: Path | None = None,
        **options: Any,
    ) -> Self:
        """Adapt to a line from a few images, register the version and make it live; needs `linewise[full]`.

        What is left out of the images, and what is odd about them, is told as warnings of the logger `linewise`.

        Args:
            name: of the line, as the registry will know it.
            good: images of good parts, at least one.
            defects: images of defective parts.
            masks: for each defect its mask, not zero where the defect is, or None; None: no masks.
            colour_order: of the colour arrays among the images.
            device: where the line then scores, see `open`. Adaptation runs where `linewise adapt` does.
            home: of the registry; None: LINEWISE_HOME.
            options: what `linewise adapt` takes, with underscores: `learner="memory_bank"`, `seed=1`, `size=256`,
                `any_angle=True`, `target_false_reject_rate=0.01`, `least_defect_area=40`, `promote=False`...

        Raises:
            ConfigError: an unknown option, or a value out of range; no good image; not a mask for each defect.
            ImageError: an array that is no image.
            LineError, ParityError, BundleError, StorageError, DeviceError: as the sentence says.
        """
        wanted, settings = _device(device), load_settings(home)
        adapted = adapt_line(name, good, defects, masks, bgr=_is_bgr(colour_order), options=options, settings=settings)
        for remark in adapted.remarks:
            log.warning("%s: %s", name, remark)
        return cls(Registry(settings.home).deployment(name, adapted.version), wanted, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model and of its memory, once calls that are under way are through."""
        self._engine = None

    @property
    def name(self) -> str:
        """The line's name."""
        return self._bundle.manifest.line

    @property
    def version(self) -> str:
        """The version that scores."""
        return self._bundle.manifest.version

    @property
    def threshold(self) -> Threshold:
        """What decides: `reject` and `review` on the score, `pixel` on the map."""
        return self._bundle.manifest.threshold

    @property
    def card(self) -> str:
        """The version's card, as Markdown."""
        return self._bundle.card_path.read_text(encoding="utf-8")

    @property
    def device(self) -> str:
        """What it runs on: cpu, cuda or tensorrt."""
        return self._device.device.value

    @property
    def device_note(self) -> str:
        """The same in a sentence, with the reason."""
        return self._device.note

    def score(self, image: Image, *, colour_order: ColourOrder = "rgb") -> Result:
        """Score one image, as `linewise score` does, and keep nothing.

        Pixels, and a file's bytes or path, give what the same file gives there, bit for bit on a CPU. A JPEG is the
        exception: decoded by someone else, in full, its pixels differ from those that Linewise decodes at reduced size.

        Raises:
            ImageError: it cannot be used; what is wrong with it is told.
            ConfigError: an unknown colour order, or the line is closed.
            DeviceError: the device has not memory enough.
        """
        engine, seen = self._opened(), self._see(image, bgr=_is_bgr(colour_order))
        (scored,) = engine.score_mixed([self.name], seen.pixels[None])
        return Result.of(self._bundle, engine, scored, seen)

    def score_batch(self, images: Iterable[Image], *, colour_order: ColourOrder = "rgb") -> list[Result]:
        """Score images together, on all CPUs or in an accelerator's batches; results in their order.

        Raises:
            ImageError: one of them cannot be used, which is told; then there are no results.
            ConfigError: one image instead of several; as `score`.
            DeviceError: as `score`.
        """
        refuse_one_image(images)
        engine, bgr, step = self._opened(), _is_bgr(colour_order), self._device.batch_size
        if self._bundle.manifest.tiles is not None:
            step = 1  # an image is a batch of tiles
        numbered = enumerate(images)

        def see(each: tuple[int, Image]) -> Seen:
            return self._see(each[1], bgr=bgr, number=each[0])

        def score(each: tuple[int, Image]) -> Result:
            seen = see(each)
            (scored,) = engine.score_mixed([self.name], seen.pixels[None])
            return Result.of(self._bundle, engine, scored, seen)

        with ThreadPoolExecutor(available_cpus(), thread_name_prefix="linewise-batch") as pool:
            if step == 1:
                return list(pool.map(score, numbered))
            seen = list(pool.map(see, numbered))
        results = []
        for start in range(0, len(seen), step):
            chunk = seen[start : start + step]
            pixels = padded(np.stack([each.pixels for each in chunk]), step)
            scores = engine.score_mixed([self.name] * len(chunk), pixels)
            results += [Result.of(self._bundle, engine, *pair) for pair in zip(scores, chunk, strict=True)]
        return results

    def _opened(self) -> LineEngine:
        if (engine := self._engine) is None:
            raise ConfigError(f"an open line {self.name}", "one that was closed", "open it again")
        return engine

    def _see(self, image: Image, *, bgr: bool, number: int | None = None) -> Seen:
        """The image at the model's size, where its values mean what those of the line's support do."""
        spec = self._bundle.manifest.preprocess
        path = Path(image) if isinstance(image, str | os.PathLike) else None
        try:
            with nullcontext() if path is None else naming(path):
                decoded = decode_opened(self._encoded(image, path, bgr=bgr), spec, path or Path(), "")
                problem = depth_problem(decoded.bit_depth, decoded.brightest, spec.white_level)
                if problem is not None:
                    raise problem
        except ImageError as error:
            if number is None:
                raise
            raise ImageError(error.expected, f"{error.got} (image {number})", error.remedy, path) from error
        return Seen(decoded.pixels, decoded.source_size, decoded.colour, placement=decoded.placement)

    def _encoded(self, image: Image, path: Path | None, *, bgr: bool) -> EncodedImage:
        if path is not None:
            return self._open_image(read_bytes(path, self._limits.max_bytes), self._limits)
        if isinstance(image, bytes):
            return self._open_image(image, self._limits)
        assert not isinstance(image, str | os.PathLike)
        array = array_image(image, bgr=bgr)
        check_size(array.height, array.width, self._limits)
        return array


def _device(name: str | None) -> Device | None:
    try:
        return None if name is None else Device(name)
    except ValueError as error:
        raise ConfigError(f"a device of {', '.join(Device)}", repr(name), "choose one of them") from error


def _is_bgr(colour_order: str) -> bool:
    if colour_order not in ("rgb", "bgr"):
        raise ConfigError("a colour order of rgb or bgr", repr(colour_order), "choose the one that the arrays have")
    return colour_order == "bgr"
