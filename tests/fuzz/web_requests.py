"""Requests as our web servers get them from whoever reaches their ports, handed to the application without a socket."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, unquote

from tests.fuzz.mutations import ODD_TEXTS

OWN_HOST = "127.0.0.1:4290"
ODD_HOSTS = ("", "evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "[::1", "[::1]x", "x/static/", "[")
ODD_ORIGINS = ("null", "http://evil.example", "http://127.0.0.1:4291", "http://", "file://", "")
_ODD_HEADERS = (
    ("Content-Type", "multipart/form-data; boundary=" + "x" * 5000),
    ("Content-Type", "application/x-www-form-urlencoded; charset=utf-7"),
    ("Content-Type", "application/json"),
    ("Content-Type", ""),
    ("Content-Encoding", "gzip"),
    ("Content-Length", "0"),
    ("Content-Length", "1"),
    ("Content-Length", "9" * 20),
    ("Transfer-Encoding", "chunked"),
    ("Expect", "100-continue"),
    ("Range", "bytes=0-1,0-1,0-1,5-3"),
    ("Accept", "*/*;q=nan"),
    ("Accept-Encoding", "\xff"),
    ("If-Modified-Since", "nan"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "localhost"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Cookie", '=;;=; \xff=\xff; a="\\777"'),
    ("Upgrade", "websocket"),
)
_METHODS = ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X" * 300)
_RAW_PIECES = (
    "%",
    "%zz",
    "%00",
    "%0d%0aX:%20y",
    "//",
    "/..",
    "/%2e%2e%2f",
    ";",
    "?",
    "&",
    "&&=",
    "=",
    "%ff",
    "+",
    "%E2",
)


@dataclass(frozen=True)
class WebRequest:
    """A request.

    Args:
        method: as it stands in the request's line.
        target: path and query, in the characters that a server lets through.
        headers: names and values.
        body: whole.
        pieces: in how many it comes.
        breaks_off: the connection ends before the last piece.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pieces: int = 1
    breaks_off: bool = False


@dataclass
class WebAnswer:
    """What came back; names of headers in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def answered(app: Any, request: WebRequest) -> WebAnswer:
    """What an ASGI application answers. What it raises comes through; an AssertionError tells of a failing server."""
    answer = _loop().run_until_complete(_answer(app, request))
    assert answer.status < 500, f"status {answer.status}: {answer.text[:200]!r}"
    assert "Traceback (most recent" not in answer.text, "a traceback in an answer"
    assert not any("\n" in value or "\r" in value for value in answer.headers.values()), "a header of two lines"
    return answer


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


async def _answer(app: Any, request: WebRequest) -> WebAnswer:
    path, _, query = request.target.partition("?")
    size = max(-(-len(request.body) // request.pieces), 1)
    parts = [request.body[start : start + size] for start in range(0, len(request.body), size)] or [b""]
    if request.breaks_off:
        parts.pop()
    answer, ended = WebAnswer(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts) or request.breaks_off}
        if not request.breaks_off:
            await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
        else:
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                ended.set()

    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
        **{"method": request.method, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()},
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in request.headers],
        **{"client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 4290)},
    }
    await app(scope, receive, send)
    return answer


def odd_target(path: str, query: Mapping[str, str], rng: Random) -> str:
    """Path and query, escaped as a browser does it, now and then with what is none put in."""
    pairs = [f"{_escaped(name)}={_escaped(value)}" for name, value in query.items()]
    target = _escaped(path) + ("?" + "&".join(pairs) if pairs else "")
    if rng.random() < 0.2:
        place = rng.randrange(1, len(target) + 1)
        target = target[:place] + rng.choice(_RAW_PIECES) * rng.choice((1, 1, 2, 500)) + target[place:]
    return target


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/~-")


def odd_headers(rng: Random) -> list[tuple[str, str]]:
    """None to three headers that nobody needs."""
    found = [rng.choice(_ODD_HEADERS) for _ in range(rng.choice((0, 0, 0, 1, 1, 3)))]
    if rng.random() < 0.05:
        # a server lets control characters not through
        text = "".join(character for character in rng.choice(ODD_TEXTS) if character.isprintable())
        found.append((rng.choice(("Authorization", "Cookie", "Accept", "User-Agent")), text))
    return found


def odd_method(usual: str, rng: Random) -> str:
    """Mostly the usual one."""
    return rng.choice(_METHODS) if rng.random() < 0.05 else usual


def lasting_folder() -> Path:
    """A folder for what an application needs as long as the process lives."""
    folder = tempfile.mkdtemp(prefix="linewise-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # of a process that is killed, the campaign removes it
    return Path(folder)
