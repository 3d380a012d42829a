"""The server as a process: one socket, one application, until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import uvicorn
from fastapi import FastAPI

from deploy.bundles.registry import Registry
from deploy.decoding.choice import image_opener
from deploy.engine.devices import open_device
from deploy.rest.app import make_app
from deploy.rest.image_service import ImageService
from deploy.results.store import ResultStore
from deploy.scoring.run import single_threaded_opencv
from pipeline.errors import ConfigError
from pipeline.settings import Device, Settings

_LAST_ANSWERS_SECONDS = 30


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    lines: Sequence[str],
    device: Device | None,
    workers: int | None,
    places: int,
    record: bool,
    say: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C or SIGTERM: then nothing new is taken, and what is under way is answered first.

    Args:
        settings: of this process; its token, if any, is asked for.
        host: address to listen at.
        port: of it; 0: any that is free.
        lines: names of what is served, opened now; empty: every registered line, opened when it is first asked for.
        device: where to score; None, auto: what the settings say.
        workers: threads that decode (and on a CPU score); None: what the settings say, else one for each CPU.
        places: images that are under way at most.
        record: keep results in the result store.
        say: told, in a sentence, where it listens and what it scores on.

    Raises:
        ConfigError: the port is taken or the address is not this machine's; or no such line.
        DeviceError: the device is not there.
        BundleError: a line's live bundle is damaged.
        StorageError: the registry or the result store cannot be used, or the last rows could not be committed.
    """
    token = settings.rest_token
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        resolved = open_device(device, settings)
        if record:
            settings.ensure_home()
        service = ImageService(
            Registry(settings.home),
            resolved,
            only=lines,
            workers=workers or settings.workers,
            store=stack.enter_context(ResultStore(settings.database)) if record else None,
            opener=image_opener(settings.jpeg_decoder),
        )
        stack.callback(service.close)  # what cannot be committed is the command's last word
        service.lines.open_all()
        app = make_app(service, token=None if token is None else token.get_secret_value(), places=places)
        stack.enter_context(single_threaded_opencv())
        address, bound, *_ = listening.getsockname()
        at = f"[{address}]" if ":" in address else address
        kept = "results are kept" if record else "results are not kept"
        say(f"Serving at http://{at}:{bound}, {resolved.note}; {kept}. Stop with Ctrl-C.")
        _run(app, listening)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        remedy = "choose another --port, or an address of this machine as --host"
        raise ConfigError(f"to listen at {host} on port {port}", f"'{error.strerror or error}'", remedy) from error


def _run(app: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS, server_header=False
    )
    # uvicorn takes the signal, stops, and then raises it again for whoever was there before: it did its work by then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
