"""Runs the review page's web server until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from deploy.review.access import Access
from deploy.review.app import review_app
from pipeline.errors import ConfigError
from pipeline.settings import Settings

_GRACE_SECONDS = 3


def serve(settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve a home's lines until SIGINT or SIGTERM.

    Args:
        settings: whose lines and results.
        host: address to listen at.
        port: port to listen at.
        on_ready: told the page's address once it listens.

    Raises:
        ConfigError: the port is taken, or others would reach the page without a token.
        StorageError: the result store cannot be used.
    """
    token = None if settings.review_token is None else settings.review_token.get_secret_value()
    access = Access(host, token)
    with _listening(host, port) as listener, ResultStore(settings.database) as store:
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        app = review_app(store, Registry(settings.home), access)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that just ended may linger
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        got = f"'{error.strerror or error}'"
        raise ConfigError(f"port {port} of {host} for the review page", got, "name another one with --port") from error
    return listener
