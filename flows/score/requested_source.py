"""Which images a scoring job takes, and how one that would never end comes to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.scoring.sources.address import StreamAddress
from deploy.scoring.sources.capture import parse_sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.listing import ListSource
from deploy.scoring.sources.shard import parse_shard
from deploy.scoring.sources.source import ImageSource, LiveSource
from deploy.scoring.sources.watch import WatchedFolder
from flows.score.request import ScoreRequest
from pipeline.errors import ConfigError, LineError
from pipeline.settings import Settings
from pipeline.url_secrets import HIDDEN

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def request_source(request: ScoreRequest, settings: Settings, overlays: Path | None) -> ImageSource:
    """Open what the request names; `overlays` below a folder is left out.

    Raises:
        ConfigError: maps would be written among the images, a secret of the URL got lost on the way, or parts are
            asked for of what is no folder.
        LinewiseError: see `open_source`.
    """
    source = request.source
    if isinstance(source, StreamAddress):
        if HIDDEN in source.url:
            remedy = "run it without Prefect, or let the camera ask for a user and set LINEWISE_STREAM_CREDENTIALS"
            raise ConfigError("the whole URL of the stream", f"{source.shown}, whose secret was left out", remedy)
        if settings.stream_credentials is not None:
            source = source.signed_in(settings.stream_credentials.get_secret_value())
    else:
        keep_maps_apart(request.maps, Path(source))
    sampling = parse_sampling(request.every) if request.every is not None else None
    shard = parse_shard(request.shard) if request.shard is not None else None
    opened = open_source(source, watch=request.watch, sampling=sampling, leave_out=overlays, shard=shard)
    if request.parts is not None and not isinstance(opened, FolderSource | WatchedFolder):
        raise ConfigError("a folder to find parts in", str(opened.name), "leave parts and views out")
    return opened


def keep_maps_apart(maps: Path | None, source: Path) -> None:
    """See that maps are not written among the images of `source`, where they would be scored.

    Raises:
        ConfigError: they would be.
    """
    if maps is not None and maps.absolute().is_relative_to(source.absolute()):
        raise ConfigError(f"a folder for maps outside {source}", str(maps), "maps are images too: put them elsewhere")


def count_images(source: ImageSource) -> int | None:
    """How many images the source has, None where nobody knows.

    Raises:
        LineError: none.
        StorageError: it cannot be read.
    """
    total = source.total
    if isinstance(source, FolderSource) and source.shard is not None:
        return total  # of a few files a share may have none
    if total == 0 and isinstance(source, FolderSource | ListSource):
        left_out = f", but {source.left_out}" if isinstance(source, FolderSource) and source.left_out else ""
        raise LineError(
            "image files", f"none in {source.name}{left_out}", "name a folder that holds images, or a list of them"
        )
    return total


def pictures_left_out(source: ImageSource) -> int:
    """How many files of a folder that was read to its end are pictures by their suffix, and not read."""
    return source.pictures_left_out if isinstance(source, FolderSource) else 0


@contextmanager
def ended_by_signals(source: ImageSource) -> Iterator[None]:
    """While a live source is scored, Ctrl-C and SIGTERM are its end: what came is scored, committed and reported.

    The second signal does what the first one does elsewhere. Only the main thread can do this: elsewhere, as in some of
    Prefect's runs, signals are left as they are.
    """
    if not isinstance(source, LiveSource) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        restore()
        source.stop()

    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
