"""What scoring is asked to do: one line's images, or a plant's. See `flows.asking.request`. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from deploy.scoring.sources.address import StreamAddress, is_url, stream_address
from flows.asking.request import Request
from flows.asking.request_fields import (
    CsvFile,
    DrawsOverlays,
    JsonFile,
    LineName,
    MapsFolder,
    ReportFile,
    ScoringDevice,
    ScoringThreads,
    Source,
)
from pipeline.errors import ConfigError
from pipeline.settings import DeviceName


class ScoreRequest(Request):
    """Score images with a line's bundle: a folder, a list, a video or a stream."""

    line: LineName
    images: Source = Field(
        description="What to score: a folder of images, with its subfolders; a .txt file with one path a line; a video "
        "file; a stream's URL (user and password in LINEWISE_STREAM_CREDENTIALS); or camera:0."
    )
    watch: bool = Field(
        default=False, description="Go on with new files of the folder as they are written, until the run is stopped."
    )
    every: str | None = Field(
        default=None,
        max_length=20,
        description="Which frames of a video or stream: 10 for every tenth, 0.5s for one in half a second; None: all.",
    )
    version: str | None = Field(default=None, max_length=80, description="Bundle version; None: the live one.")
    device: ScoringDevice = DeviceName.AUTO
    workers: ScoringThreads = None
    report: ReportFile = None
    json_path: JsonFile = None
    csv_path: CsvFile = None
    overlays: DrawsOverlays = True
    maps: MapsFolder = None
    bundle: Path | None = Field(
        default=None, description="An exported bundle folder of this line, instead of a registered version."
    )

    _address: StreamAddress | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_secrets_apart(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Leave only what may be shown in `images`: a request goes into logs, configs and Prefect's database."""
        address = None
        if isinstance(data, dict) and is_url(source := str(data.get("images", ""))):
            address = stream_address(source)
            data = {**data, "images": address.shown}
        request = handler(data)
        if address is not None:
            request._address = address
        return request

    @property
    def source(self) -> str | StreamAddress:
        """What `images` names; a stream with the credentials that its URL had."""
        return self._address or self.images

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.bundle is not None and self.version is not None:
            raise ConfigError("either a version or a bundle folder", "both", "leave one of them out")
        return self


class ScorePlantRequest(Request):
    """Score a folder of lines, each with its live bundle, in one process."""

    images: Path = Field(description="Folder with a folder of images for each line, under the line's name.")
    watch: bool = Field(
        default=False,
        description="Go on with new files, and with lines that are registered, until the run is stopped.",
    )
    device: ScoringDevice = DeviceName.AUTO
    workers: ScoringThreads = None
    report: ReportFile = None
    json_path: JsonFile = None
    csv_path: CsvFile = None
    overlays: DrawsOverlays = True
    maps: MapsFolder = None

    @property
    def plant(self) -> str:
        """What runs and reports call it: the folder's name."""
        return self.images.expanduser().absolute().name or "plant"
