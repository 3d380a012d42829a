"""What Linewise stands on besides a device: home, result store, backbones, JPEG decoder, a Prefect server. Torch-free.

nvJPEG alone needs torch, and is opened only where the settings ask for it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from http.client import HTTPException
from importlib.util import find_spec
from urllib.error import HTTPError
from urllib.request import urlopen

from deploy.bundles.registry import Registry
from deploy.decoding.choice import open_nvjpeg
from deploy.engine.nvidia import DRIVER_LIBRARY, loads
from deploy.engine.survey import ort_build
from deploy.results.database import database_errors, for_writing, open_database, parse_url
from flows.doctor.prefect_address import in_no_proxy, prefect_address, proxy_variable, without_login
from pipeline.errors import ConfigError, LinewiseError
from pipeline.settings import JpegDecoder, Settings
from pipeline.storage import storage_errors

_PATIENCE_SECONDS = 5
_WANTS_LOGIN = (401, 403)


Facts = dict[str, str | int | float | list[str]]


class Verdict(StrEnum):
    """What a check found; skipped: there is nothing to check."""

    OK = "ok"
    SKIPPED = "skipped"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding: a stable name, the verdict, one sentence for people, and figures for programs."""

    name: str
    verdict: Verdict
    says: str
    facts: Facts = field(default_factory=dict)


def check_installation(settings: Settings) -> tuple[Check, ...]:
    """Every check, in order. Makes the home folder and an empty result store, as the first job would."""
    checks: dict[str, Callable[[Settings], Check]] = {
        "onnxruntime": _onnxruntime,
        "home": _home,
        "result_store": _result_store,
        "backbones": _backbones,
        "jpeg_decoder": _jpeg_decoder,
        "prefect": lambda _: check_prefect(),
    }
    return tuple(_told(name, check, settings) for name, check in checks.items())


def _told(name: str, check: Callable[[Settings], Check], settings: Settings) -> Check:
    try:
        return check(settings)
    except LinewiseError as error:
        return Check(name=name, verdict=Verdict.PROBLEM, says=str(error))


def _onnxruntime(_settings: Settings) -> Check:
    build = ort_build()
    if len(build.distributions) > 1:
        raise ConfigError(
            "one package that holds onnxruntime",
            f"{' and '.join(build.distributions)}, which overwrite each other's files",
            "uninstall all of them, then install onnxruntime-gpu",
        )
    says = f"{build.version} with {', '.join(build.providers)} compiled in"
    return Check(name="onnxruntime", verdict=Verdict.OK, says=says)


def _home(settings: Settings) -> Check:
    home = settings.ensure_home()
    with storage_errors(home), tempfile.TemporaryFile(dir=home) as file:
        file.write(b"linewise doctor")
        file.flush()
        os.fsync(file.fileno())
    registry = Registry(home)
    registry.lines()  # raises where they cannot be listed
    registry.backbones()
    free = shutil.disk_usage(home).free
    says = f"{home} can be written, {free / 2**30:.1f} GiB free"
    return Check(name="home", verdict=Verdict.OK, says=says, facts={"path": str(home), "free_bytes": free})


def _result_store(settings: Settings) -> Check:
    url = parse_url(settings.database)
    engine = open_database(url)
    try:
        with database_errors(url), for_writing(engine).begin():  # reading alone also works on a read-only file
            pass
    finally:
        engine.dispose()
    shown = url.render_as_string(hide_password=True)
    return Check(name="result_store", verdict=Verdict.OK, says=f"{shown} can be written", facts={"url": shown})


def _backbones(settings: Settings) -> Check:
    registry = Registry(settings.home)
    names = registry.backbones()
    if not names:
        says = "none is registered yet: adapting a line or importing a bundle registers one"
        return Check(name="backbones", verdict=Verdict.SKIPPED, says=says, facts={"intact": [], "damaged": []})
    damaged: dict[str, str] = {}
    for name in names:
        try:
            registry.backbone(name)
        except LinewiseError as error:
            damaged[name] = str(error)
    facts: Facts = {
        "intact": [name for name in names if name not in damaged],
        "damaged": list(damaged),
    }
    if damaged:
        says = "; ".join(f"{name}: {sentence}" for name, sentence in damaged.items())
        return Check(name="backbones", verdict=Verdict.PROBLEM, says=says, facts=facts)
    return Check(name="backbones", verdict=Verdict.OK, says=f"{len(names)} registered, all intact", facts=facts)


def _jpeg_decoder(settings: Settings) -> Check:
    name, wanted = "jpeg_decoder", settings.jpeg_decoder
    if wanted is JpegDecoder.LIBJPEG:
        might = all(find_spec(module) for module in ("torch", "torchvision")) and loads(DRIVER_LIBRARY)
        try_it = "may work: set LINEWISE_JPEG_DECODER=nvjpeg and ask again"
        says = f"libjpeg; nvJPEG {try_it if might else 'would need torchvision and a GPU'}"
        return Check(name=name, verdict=Verdict.OK, says=says, facts={"decoder": wanted.value})
    _, agreement = open_nvjpeg()
    facts: Facts = {"decoder": wanted.value, **asdict(agreement)}
    return Check(name=name, verdict=Verdict.OK, says=f"nvJPEG, {agreement}", facts=facts)


def check_prefect() -> Check:
    """Whether the server that PREFECT_API_URL names answers.

    Raises:
        ConfigError: it does not, a proxy is in the way, or the address is none.
    """
    url = prefect_address()
    if url is None:
        says = "PREFECT_API_URL is not set: no server is used, and everything runs without one"
        return Check(name="prefect", verdict=Verdict.SKIPPED, says=says)
    shown = without_login(url)
    return Check(name="prefect", verdict=Verdict.OK, says=f"{shown} {server_health(url)}", facts={"url": shown})


def server_health(url: str) -> str:
    """How the Prefect API at `url` answers, as the end of a sentence.

    Raises:
        ConfigError: it does not, or is not healthy.
    """
    shown = without_login(url)
    remedy = "start the server, or correct or unset PREFECT_API_URL"
    if (variable := proxy_variable(url)) is not None:
        remedy += f"; {variable} sends what is for it to a proxy: {in_no_proxy(url)} where that is wrong"
    expected = f"a Prefect API that answers at {shown}"
    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=_PATIENCE_SECONDS) as response:  # noqa: S310  # scheme checked
            healthy = json.loads(response.read(1000)) is True
    except HTTPError as error:
        error.close()
        if error.code in _WANTS_LOGIN:
            return "answers, and asks for a login"
        raise ConfigError(expected, f"HTTP status {error.code}", remedy) from error
    except (OSError, HTTPException) as error:
        raise ConfigError(expected, f"'{getattr(error, 'reason', None) or error}'", remedy) from error
    except ValueError as error:  # another server's page
        raise ConfigError(expected, "an answer that is not Prefect's", remedy) from error
    if not healthy:
        raise ConfigError(expected, "a server that says it is not healthy", remedy)
    return "answers"
