"""What scoring is asked to do: one line's images, or a plant's. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from deploy.messages.destination import parse_destination
from deploy.messages.told import Told
from deploy.scoring.part_rule import PART_SECONDS, PartRule, parse_part_rule
from deploy.scoring.sources.address import StreamAddress, camera_index, is_url, stream_address
from deploy.scoring.sources.shard import parse_shard
from flows.asking.flags import Flag
from flows.asking.request import Request
from flows.asking.request_fields import CsvFile, JsonFile, LineName, ScoringDevice, Several, Source, Version
from pipeline.errors import ConfigError

EVERY_RESULT = tuple(Told)


def _address_of_receiver(text: str) -> str:
    return parse_destination(text).address


# As with a source, Prefect keeps what is typed into a form: no user and password there.
PublishAddress = Annotated[
    str,
    AfterValidator(_address_of_receiver),
    WithJsonSchema({"type": "string", "maxLength": 2000, "pattern": r"^[A-Za-z]+://[^@]*$"}),
]


class ScoringSettings(Request):
    """What is asked of every scoring run."""

    device: ScoringDevice = None
    workers: int | None = Field(
        default=None, ge=1, le=256, description="Decoding and scoring threads (default: one for each CPU)."
    )
    report: Path | None = Field(default=None, description="HTML report to write (default: one in the home).")
    json_path: Annotated[
        JsonFile,
        Field(
            description="JSON file of results to write (default: beside the report); on the command line - prints the "
            "run's figures on standard output."
        ),
    ] = None
    csv_path: Annotated[CsvFile, Field(description="CSV file of results to write (default: beside the report).")] = None
    overlays: bool = Field(default=True, description="Write a heat-map overlay for every flagged image.")
    maps: Path | None = Field(
        default=None,
        description="Folder for the anomaly map of every image scored in this run, as float32 TIFF (default: no maps).",
    )
    publish: PublishAddress | None = Field(
        default=None,
        description="Who is told of each new result at once: mqtt://broker:1883/topic/prefix, mqtts://, a webhook's "
        "http:// or https://, or an OPC UA server's opc.tcp://host:4840?node=NODE (user:password in "
        "LINEWISE_PUBLISH_CREDENTIALS; default: nobody).",
    )
    publish_decisions: Annotated[tuple[Told, ...], Several] = Field(
        default=EVERY_RESULT, min_length=1, description="Which results are told to publish's address."
    )

    parts: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Rule that groups images into parts of several views by their path below the line's folder, such "
        "as {part}_{view}.png or {part}/{view}.*: the worst view decides, and each part is one row and one message "
        "(default: each image is a part).",
    )
    views: Annotated[tuple[Annotated[str, BeforeValidator(str)], ...] | None, Several] = Field(
        default=None, max_length=100, description="The views of a part: top,side,bottom, or only how many there are."
    )
    part_timeout: float = Field(
        default=PART_SECONDS,
        gt=0,
        le=86_400,
        description="Seconds that a part of a watched folder waits for the views that it misses; then it is told as "
        "REVIEW at least.",
    )

    @property
    def part_rule(self) -> PartRule | None:
        """How images are grouped into parts; None: each is a part."""
        if self.parts is None or self.views is None:
            return None
        return parse_part_rule(self.parts, self.views, self.part_timeout)

    @model_validator(mode="after")
    def _rule_with_views(self) -> Self:
        if (self.parts is None) != (self.views is None):
            given, other = ("parts", "views") if self.views is None else ("views", "parts")
            remedy = "write --parts '{part}_{view}.png' --views top,side,bottom"
            raise ConfigError("parts and views together", f"{given} without {other}", remedy)
        if self.parts is None and self.part_timeout != PART_SECONDS:
            raise ConfigError("parts where part-timeout is named", f"{self.part_timeout:g}", "name a rule with parts")
        _ = self.part_rule  # what is wrong with it is said now
        return self

    @model_validator(mode="after")
    def _someone_to_tell(self) -> Self:
        if self.publish is None and set(self.publish_decisions) != set(EVERY_RESULT):
            told = ",".join(self.publish_decisions)
            raise ConfigError("publish's address where publish-decisions is named", repr(told), "name one with publish")
        return self


class ScoreRequest(ScoringSettings):
    """Score a line's images: decisions, heat maps, rows in the result store, a report.

    The command ends with 1 when some files got no decision; all others are scored and kept. A watched folder and a
    stream go on until Ctrl-C or SIGTERM, which end them as a folder's last file does: with rows and report.
    """

    line: LineName
    images: Source = Field(
        description="What to score: a folder of images, such as /data/cameras/bottling/caps, with its subfolders; a "
        ".txt file with one path a line; a video file; a stream's URL (user and password in "
        "LINEWISE_STREAM_CREDENTIALS); camera:0; or genicam:NAME, a camera of GenICam by its serial number, its ID or "
        "the name that it was given.",
        examples=["/data/cameras/bottling/caps"],
    )
    version: Version = None
    bundle: Path | None = Field(
        default=None, description="An exported bundle folder of this line, instead of a registered version."
    )
    watch: bool = Field(
        default=False, description="Go on with new files of the folder as they are written, until the run is stopped."
    )
    every: str | None = Field(
        default=None,
        max_length=20,
        description="Which frames of a video or stream: 10 for every tenth, 0.5s for one in half a second (default: "
        "all).",
    )

    shard: str | None = Field(
        default=None,
        max_length=20,
        description="Only a share of the folder's files, such as 2/8, the second of eight, for machines that score it "
        "together into one PostgreSQL store (default: all).",
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

    def paths(self) -> dict[str, Path]:
        """What the request names on a disk, by field; a stream and a camera are not."""
        if is_url(self.images) or camera_index(self.images) is not None:
            return super().paths()
        return super().paths() | {"images": Path(self.images)}

    @property
    def source(self) -> str | StreamAddress:
        """What `images` names; a stream with the credentials that its URL had."""
        return self._address or self.images

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.bundle is not None and self.version is not None:
            raise ConfigError("either a version or a bundle folder", "both", "leave one of them out")
        return self

    @model_validator(mode="after")
    def _share_of_single_images(self) -> Self:
        if self.shard is None:
            return self
        if self.parts is not None:  # the views of one part would be in several shares
            raise ConfigError("either a shard or parts", "both", "leave one of them out")
        _ = parse_shard(self.shard)
        return self


class ScorePlantRequest(ScoringSettings):
    """Score all lines of a plant in one process: FOLDER/LINE/**, each line with its live bundle; rows in the store.

    A bundle that is registered or promoted meanwhile is taken up between two images. The command ends with 1 when some
    files got no decision, or a promoted bundle could not be used; all others are scored and kept. A watched folder goes
    on until Ctrl-C or SIGTERM.
    """

    images: Annotated[
        Path,
        Field(
            description="Folder, such as /data/cameras, with a folder of images for each line, under the line's name.",
            examples=["/data/cameras"],
        ),
        Flag(metavar="FOLDER"),
    ]
    watch: bool = Field(
        default=False,
        description="Go on with new files, and with lines that are registered, until the run is stopped.",
    )

    @property
    def plant(self) -> str:
        """What runs and reports call it: the folder's name."""
        return self.images.absolute().name or "plant"
