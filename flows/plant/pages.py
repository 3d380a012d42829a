"""The review page as a part of the plant: its port and address, and whether it can start and answers."""

from __future__ import annotations

import errno
import json
import socket
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

from flows.plant.chosen_server import LOOPBACK
from flows.plant.started_parts import Part, PlantFolder, Started
from pipeline.errors import ConfigError, StorageError
from pipeline.settings import Settings

DEFAULT_PAGES_PORT = 4290
_NEEDED = ("fastapi", "uvicorn", "scipy")
_PATIENCE_SECONDS = 3.0


def page_address(port: int) -> str:
    """Where a browser of this machine finds it."""
    return f"http://{LOOPBACK}:{port}"


def pages_port(before: Started | None, asked: int | None, *, runs: bool) -> int:
    """The port that is asked for, else the one the page had, else its default.

    Raises:
        ConfigError: it runs at another one.
    """
    had = None if before is None else urlsplit(before.api).port
    if runs and asked not in (None, had):
        raise ConfigError(f"one review page, which runs at port {had}", f"--review-port {asked}", "run `linewise down`")
    return asked or had or DEFAULT_PAGES_PORT


def require_pages_extra() -> None:
    """See that the libraries of the page are there.

    Raises:
        ConfigError: one is missing.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        got, remedy = f"no module {missing[0]}", "run pip install 'linewise[pages]'"
        raise ConfigError("the libraries of the review page", got, remedy)


def refuse_taken_pages_port(port: int) -> None:
    """See that the page could listen there.

    Raises:
        ConfigError: another program does, or the system does not let this user.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page does: one that just ended may linger
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            got = "another program that listens there" if taken else f"'{error.strerror}'"
            raise ConfigError(
                f"port {port} of {LOOPBACK} for it", got, "name another one with --review-port"
            ) from error


def report_address(settings: Settings, report: Path) -> str | None:
    """Where a browser finds a report of this home; None: it lies elsewhere, or no page serves it."""
    try:
        kind, *below = report.relative_to(settings.home).parts
        page = settings.review_url
        if page is None and (started := PlantFolder(settings.home).running(Part.PAGES)) is not None:
            page = started.api
    except (ValueError, StorageError):
        return None
    if page is None or kind not in ("reports", "plant-reports"):
        return None
    return "/".join([page.rstrip("/"), kind, *map(quote, below)])


def page_answers(address: str) -> bool:
    """Whether a review page is at the address."""
    opener = build_opener(ProxyHandler({}))  # nobody else is asked for what runs here
    try:
        with opener.open(f"{address}/health", timeout=_PATIENCE_SECONDS) as response:
            return "linewise" in json.loads(response.read(1000))
    except (OSError, HTTPException, ValueError, TypeError):
        return False
