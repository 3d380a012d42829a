"""From what a user names to the source it is."""

from __future__ import annotations

from pathlib import Path

from deploy.scoring.sources.address import (
    VIDEO_SUFFIXES,
    StreamAddress,
    camera_index,
    genicam_name,
    is_url,
    stream_address,
)
from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.genicam import GenicamCamera
from deploy.scoring.sources.listing import ListSource
from deploy.scoring.sources.shard import Shard
from deploy.scoring.sources.source import ImageSource
from deploy.scoring.sources.stream import LiveStream
from deploy.scoring.sources.video import VideoFile
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.errors import ConfigError, LineError
from pipeline.imaging.files import instead_of_folder
from pipeline.imaging.images import ImageLimits

_KINDS = "a folder, a list (.txt), a video file, a stream's URL, camera:0 or genicam:NAME"


def open_source(
    source: str | Path | StreamAddress,
    *,
    watch: bool = False,
    sampling: Sampling | None = None,
    leave_out: Path | None = None,
    shard: Shard | None = None,
    limits: ImageLimits | None = None,
) -> ImageSource:
    """The source that a path, a URL, "camera:0" or "genicam:NAME" names.

    Args:
        source: see above.
        watch: of a folder: go on with new files until stopped.
        sampling: of a video or a stream: which frames; None: all of them.
        leave_out: a folder below a folder that is not searched.
        shard: of a folder that is not watched: the share of its files that is taken; None: all of them.
        limits: on the size of frames; None: what this machine is set to.

    Raises:
        LineError: nothing is there, or it is of another kind.
        ConfigError: `watch`, `sampling` or `shard` does not go with this kind, a URL cannot be used, or what reads
            cameras of GenICam is not installed.
        StorageError: a stream cannot be reached.
        DeviceError: there is no such camera.
        ImageError: a file is no video, or frames are too large.
    """
    is_folder = not isinstance(source, StreamAddress) and Path(source).expanduser().is_dir()
    _refuse(shard is not None and not is_folder, "shard with a folder", "another source", "leave shard out")
    if not isinstance(source, StreamAddress) and (camera := genicam_name(str(source))) is not None:
        _refuse(watch, "watch with a folder", "a camera, which goes on until it is stopped anyway", "leave watch out")
        return GenicamCamera(camera, sampling or Sampling(), limits)
    if isinstance(source, StreamAddress) or is_url(str(source)) or camera_index(str(source)) is not None:
        _refuse(watch, "watch with a folder", "a stream, which goes on until it is stopped anyway", "leave watch out")
        number = None if isinstance(source, StreamAddress) else camera_index(str(source))
        address = source if isinstance(source, StreamAddress) else number
        return LiveStream(
            address if address is not None else stream_address(str(source)), sampling or Sampling(), limits
        )
    path = Path(source).expanduser()
    if is_folder:
        _refuse(watch and shard is not None, "shard with a folder as it is", "watch", "leave one of them out")
        _refuse(sampling is not None, "every with a video or a stream", "a folder", "leave every out")
        return WatchedFolder(path, leave_out) if watch else FolderSource(path, leave_out, shard)
    make_it = "make the folder first, or correct the path"
    got = f"a file, {path}" if path.exists() else f"no folder {path}"
    _refuse(watch, "a folder to watch", got, instead_of_folder(path) if path.exists() else make_it)
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    if not path.is_file() or not (is_video or path.suffix.lower() == ".txt"):
        got = f"another file, {path}" if path.is_file() else f"no folder {path}"
        raise LineError(_KINDS, got, instead_of_folder(path))
    if is_video:
        return VideoFile(path, sampling or Sampling(), limits)
    _refuse(sampling is not None, "every with a video or a stream", "a list", "leave every out")
    return ListSource(path)


def _refuse(wrong: bool, expected: str, got: str, remedy: str) -> None:
    if wrong:
        raise ConfigError(expected, got, remedy)
