"""A server that really listens, in a thread of this process, and requests to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any

import uvicorn

from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice, resolve_device
from deploy.rest.app import make_app
from deploy.rest.image_service import ImageService
from deploy.results.store import ResultStore


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return self.json["detail"]


@dataclass
class RestServer:
    """A running server."""

    port: int
    service: ImageService

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body=body, headers=named, encode_chunked="Transfer-Encoding" in named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def score(self, line: str, image: Path | bytes, query: str = "", **headers: str) -> Answer:
        data = image if isinstance(image, bytes) else image.read_bytes()
        return self.ask("POST", f"/lines/{line}/score{query}", data, **headers)


@contextmanager
def running(
    home: Path,
    *,
    token: str | None = None,
    places: int = 64,
    store: ResultStore | None = None,
    device: ResolvedDevice | None = None,
    only: tuple[str, ...] = (),
) -> Iterator[RestServer]:
    """A server of a home's lines; it stops as SIGTERM stops one."""
    device = device or resolve_device("cpu")
    service = ImageService(Registry(home), device, only=only, workers=2, store=store)
    service.lines.open_all()
    app = make_app(service, token=token, places=places)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield RestServer(listening.getsockname()[1], service)
        finally:
            server.should_exit = True
            thread.join()
            service.close()
