"""Where Linewise keeps its things, from the environment: every variable starts with LINEWISE_.

    LINEWISE_HOME            registry, results, runs, reports, feature cache, weights   ~/.linewise
    LINEWISE_DATABASE_URL    result store (sqlite:///... or postgresql+psycopg://...)   sqlite in the home
    LINEWISE_DEVICE          where scoring runs: cpu, cuda, tensorrt or auto       auto
    LINEWISE_GPU_MEMORY_MB   most GPU memory of a scoring session's arena          what there is
    LINEWISE_WORKERS         scoring threads                                       one for each CPU it may use
    LINEWISE_JPEG_DECODER    libjpeg, or nvjpeg: scoring decodes JPEGs on a GPU    libjpeg
    LINEWISE_MAX_PIXELS      larger images are refused, 100 million pixels unless set
    LINEWISE_FEATURE_CACHE   folder of cached patch features                       <home>/features
    LINEWISE_TEMPLATE_CACHE  folder of traced graphs that several homes share      <home>/templates
    LINEWISE_DASK_SCHEDULER  Dask cluster that scores a folder in shards           workers of Prefect's pool
    LINEWISE_KEEP_REPORTS    newest report folders of a line that scoring keeps    500
    LINEWISE_SIGNING_KEY     private key (PEM, mode 0600) that bundles made here are signed with
    LINEWISE_DEMAND_SIGNATURES  1: only bundles signed by a key of <home>/trusted_keys are opened
    LINEWISE_REVIEW_TOKEN    what the review page asks for before it shows anything
    LINEWISE_REVIEW_URL      where people reach it: runs link to their reports there   as `linewise up` started it
    LINEWISE_STREAM_CREDENTIALS  user:password of the cameras whose stream is scored
    LINEWISE_REST_TOKEN      what `linewise serve` asks of every request            nothing
    LINEWISE_PUBLISH_CREDENTIALS user:password, or a webhook's token, of who is told of results

Whatever Linewise names itself lies below the home folder; only what a user names on purpose lies elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import ConfigError, StorageError

DEFAULT_MAX_PIXELS = 100_000_000
"""A thread that decodes an image holds 3 bytes for each of its pixels, 6 where they are of 16 bits."""
_OPENCV_PIXELS = 2**30


class Device(StrEnum):
    """Where graphs run. `auto` is CUDA where it truly works, else the CPU, and says which; no other ever falls back."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    AUTO = "auto"


class JpegDecoder(StrEnum):
    """What decodes JPEGs that are scored. Adaptation and training always take libjpeg, the reference."""

    LIBJPEG = "libjpeg"
    NVJPEG = "nvjpeg"


class Settings(BaseSettings):
    """The settings of one process, frozen. Build them with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="LINEWISE_", frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True
    )

    home: Path = Field(default=Path("~/.linewise"), description="Everything Linewise writes on its own account.")
    database_url: SecretStr | None = Field(default=None, description="SQLAlchemy URL of the result store.")
    device: Device = Field(default=Device.AUTO, description="Where scoring runs unless a request says so.")
    gpu_memory_mb: int | None = Field(default=None, ge=64, description="Most GPU memory of a session's arena.")
    workers: int | None = Field(default=None, ge=1, le=256, description="Scoring threads; empty: one for each CPU.")
    jpeg_decoder: JpegDecoder = Field(default=JpegDecoder.LIBJPEG, description="What decodes JPEGs in scoring.")
    max_pixels: int = Field(
        default=DEFAULT_MAX_PIXELS, ge=256, le=_OPENCV_PIXELS, description="Larger images are refused."
    )
    feature_cache: Path | None = Field(default=None, description="Folder of cached patch features.")
    template_cache: Path | None = Field(default=None, description="Folder of traced graphs that several homes share.")
    stream_credentials: SecretStr | None = Field(default=None, description="user:password of cameras.")
    rest_token: SecretStr | None = Field(default=None, description="What `linewise serve` asks of every request.")
    publish_credentials: SecretStr | None = Field(default=None, description="user:password or token of receivers.")
    signing_key: Path | None = Field(default=None, description="Private key that bundles made here are signed with.")
    demand_signatures: bool = Field(default=False, description="Open only bundles that a trusted key signed.")
    review_token: SecretStr | None = Field(default=None, description="Token of the review page.")
    review_url: str | None = Field(default=None, pattern=r"^https?://\S+$", description="Where people reach it.")
    dask_scheduler: str | None = Field(default=None, description="Dask scheduler (tcp://...) that takes shards.")
    keep_reports: int = Field(default=500, ge=1, description="Newest report folders of a line that scoring keeps.")

    @field_validator("home", "feature_cache", "template_cache", "signing_key")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    def device_for(self, asked: Device | None) -> Device:
        """The device of a run: the one that its request names, else (None, auto) what this machine is set to."""
        return self.device if asked in (None, Device.AUTO) else asked

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the result store. May hold a password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'results.sqlite'}"

    @property
    def features(self) -> Path:
        """Folder of the feature cache."""
        return self.feature_cache or self.home / "features"

    @property
    def runs(self) -> Path:
        """Folder of meta-training and evaluation runs."""
        return self.home / "runs"

    @property
    def trusted_keys(self) -> Path:
        """Folder of the public keys whose bundles are opened where signatures are demanded."""
        return self.home / "trusted_keys"

    @property
    def templates(self) -> Path:
        """Folder of head graphs without their tensors, which later exports fill."""
        return self.template_cache or self.home / "templates"

    def below_home(self, *parts: str) -> Path:
        """A path below the home folder made from names that users chose.

        Each part becomes one path component: anything but letters, digits, dot, dash and underscore turns into a dash,
        so that no name can climb out.

        Raises:
            ConfigError: a part has no usable character.
        """
        path = self.home
        for part in parts:
            component = _component(part)
            if not component:
                raise ConfigError("a name with a letter or a digit", repr(part), "choose another name")
            path /= component
        return path

    def line_folder(self, kind: str, line: str) -> Path:
        """The line's own folder below `<home>/<kind>`: its name where a folder can be called so, else what is of it
        and a hash, so that "a/b" is not "a-b".
        """
        component = _component(line)
        if component != line:
            component = f"{component}-{hashlib.sha256(line.encode()).hexdigest()[:8]}".lstrip("-")
        return self.home / kind / component

    def ensure_home(self) -> Path:
        """Create the home folder, readable by its owner alone.

        Raises:
            StorageError: it cannot be created.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(
                f"a writable home folder {self.home}",
                error.strerror or str(error),
                "set LINEWISE_HOME to another folder",
            ) from error
        return self.home


def _component(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")


def load_settings(home: Path | None = None) -> Settings:
    """The settings of the environment; `home` overrules LINEWISE_HOME.

    Raises:
        ConfigError: a variable holds a value out of range.
    """
    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable = "LINEWISE_" + "_".join(str(part) for part in first["loc"]).upper()
        got = f"{first['input']!r} ({first['msg']})"  # no secret: any text is a usable one
        raise ConfigError(f"a usable {variable}", got, f"change or unset {variable}") from error
