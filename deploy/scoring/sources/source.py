"""What scoring needs of a source: a name, and a stream of items, endless or not."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deploy.scoring.sources.taken import Taking
from pipeline.imaging.bayer_pattern import BayerPattern


@dataclass(frozen=True, kw_only=True)
class SourceItem:
    """One image to score: a file, or a frame, which has none.

    Args:
        name: what reports and tables call it: a file's path below its folder, "clip.avi#120", "rtsp://cam7/1#120".
        path: the file; of a frame the video's path and `#frame`, which is no file; None for a stream, whose name says
            all. What is kept in the result store is the absolute path, or the name where there is none.
        frame: uint8 or uint16 of a frame, BGR (H, W, 3) or of one channel (H, W); None: `data` is to be decoded, or
            `path` to be read.
        mosaic: the pattern of which the camera says that its frame of one channel is a mosaic; None: it is grey.
        data: a file's bytes that came without a path; no picture is drawn of it. None: `path` is to be read.
        where: said with the reason when a file cannot be used, e.g. "line 17 of parts.txt"; empty: nothing.
        problem: why it cannot be scored, as far as the source knows already; None: it knows nothing against it.
        taking: of a watched folder's file: to be asked whether what was read is what was taken, and is new; None: of
            no such file.
    """

    name: str
    path: Path | None
    frame: NDArray[np.uint8] | NDArray[np.uint16] | None = None
    mosaic: BayerPattern | None = None
    data: bytes | None = None
    where: str = ""
    problem: str | None = None
    taking: Taking | None = None


class ImageSource(Protocol):
    """Items to score, in an order that does not change."""

    @property
    def name(self) -> str:
        """What database, report and log call it. Never holds a credential."""
        ...

    @property
    def total(self) -> int | None:
        """How many items there are, about; None where nobody knows. May read the source once."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a reader of the report should know about how the source behaved, in sentences."""
        ...

    def items(self) -> Iterator[SourceItem | None]:
        """The items. None means: nothing new at the moment; whoever reads may use the time, then asks again.

        Raises:
            LinewiseError: the source cannot be read, or no longer. What came before it is good.
        """
        ...


class LiveSource(ABC):
    """An `ImageSource` that goes on until it is told to stop: a watched folder, a stream, a camera."""

    total = None

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let `items` come to its end soon, as if there was nothing more. From any thread, and in a signal handler."""
        self._stopped.set()

    @abstractmethod
    def items(self) -> Iterator[SourceItem | None]:
        """See `ImageSource`."""
