"""Which Prefect server a plant has: its own on this machine, or the one that PREFECT_API_URL names."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

from deploy.loopback import is_loopback
from flows.doctor.checks import server_health
from flows.doctor.prefect_address import prefect_address, without_login
from flows.plant.started_parts import Part, PlantFolder
from pipeline.errors import ConfigError

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 4200
_NO_PROXY = ("NO_PROXY", "no_proxy")  # libraries differ in the spelling they read


@dataclass(frozen=True)
class ChosenServer:
    """The server.

    Args:
        api: address of its API.
        port: where it is to listen, if it is the plant's own; None: it runs elsewhere.
    """

    api: str
    port: int | None

    @property
    def shown(self) -> str:
        """The address without a user and a password in it."""
        return without_login(self.api)

    @property
    def ui(self) -> str:
        """Where a browser finds it."""
        return self.shown.rstrip("/").removesuffix("/api")


def choose_server(folder: PlantFolder, port: int | None = None) -> ChosenServer:
    """The server of PREFECT_API_URL where one answers there or it is another machine's; else the plant's own.

    Args:
        folder: what the plant has been until now.
        port: asked for the plant's own server; None: as it was, or as PREFECT_API_URL says, or 4200.

    Raises:
        ConfigError: what is asked for contradicts what runs, or PREFECT_API_URL is no address.
    """
    keep_proxies_off()
    url, own, running = prefect_address(), folder.started(Part.SERVER), folder.running(Part.SERVER)
    if url is None and own is None and port is None and (worker := folder.running(Part.WORKER)) is not None:
        return ChosenServer(worker.api, None)
    own_port = None if own is None else _port_here(own.api)
    url_port = None if url is None else _port_here(url)
    named = url is not None and (url_port is None or url_port != own_port)
    if url is not None and named and (url_port is None or answers(url)):
        if running is not None:
            raise _runs_at(running.api, f"PREFECT_API_URL={without_login(url)}")
        if port is not None:
            got = f"PREFECT_API_URL={without_login(url)}, a server that is used as it is"
            raise ConfigError("--port with a server that is to be started here", got, "leave out --port or unset it")
        return ChosenServer(url, None)
    if running is not None and port not in (None, own_port):
        raise _runs_at(running.api, f"--port {port}")
    port = port or own_port or url_port or DEFAULT_PORT
    return ChosenServer(f"http://{LOOPBACK}:{port}/api", port)


def server_in_use(folder: PlantFolder) -> ChosenServer | None:
    """The server that the plant was started with, whether it answers or not; else that of PREFECT_API_URL, if any.

    Raises:
        ConfigError: PREFECT_API_URL is no address.
        StorageError: see `PlantFolder.started`.
    """
    keep_proxies_off()
    own, worker = folder.started(Part.SERVER), folder.started(Part.WORKER)
    if own is not None:
        return ChosenServer(own.api, _port_here(own.api))
    named = prefect_address()
    if worker is not None and (named is None or without_login(named) != worker.api):
        return ChosenServer(worker.api, None)
    return None if named is None else ChosenServer(named, None)


def refuse_taken_port(port: int) -> None:
    """See that a server could listen there.

    Raises:
        ConfigError: another program does, or the system does not let this user.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: one that just ended may linger
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            got = "another program that listens there" if taken else f"'{error.strerror}'"
            remedy = "name another one with --port"
            if taken and answers(api := f"http://{LOOPBACK}:{port}/api"):
                got = "a Prefect server there that `linewise up` did not start"
                remedy += f", or set PREFECT_API_URL={api} to use that server"
            raise ConfigError(f"port {port} of {LOOPBACK} for the Prefect server", got, remedy) from error


def answers(url: str) -> bool:
    """Whether a healthy Prefect API is at the address."""
    try:
        server_health(url)
    except ConfigError:
        return False
    return True


def environment_of(server: ChosenServer, folder: PlantFolder) -> dict[str, str]:
    """Variables of server, worker, and of whoever asks the server, over those of the process.

    What `deploy/server.env` says holds where the environment says nothing else; where the server listens and keeps its
    things, and that it calls nobody, always holds.
    """
    variables = {
        "PREFECT_API_URL": server.api,
        "DO_NOT_TRACK": "1",
        "LINEWISE_HOME": str(folder.path.parent),
    }
    if server.port is None:
        return variables
    login = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    return {
        **{name: value for name, value in _server_defaults().items() if name not in os.environ},
        **({"PREFECT_API_AUTH_STRING": login} if login and "PREFECT_API_AUTH_STRING" not in os.environ else {}),
        **variables,
        "PREFECT_HOME": str(folder.prefect_home),
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(server.port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def keep_proxies_off() -> None:
    """No proxy of the environment is asked for this machine itself, in this process and in those it starts."""
    for name in _NO_PROXY:
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join([*hosts, *(host for host in (LOOPBACK, "localhost") if host not in hosts)])


def _server_defaults() -> dict[str, str]:
    lines = (files("deploy") / "server.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith("PREFECT_"))


def _port_here(url: str) -> int | None:
    """The port of this machine that a plain address names; None: another machine's, or not plain."""
    parts = urlsplit(url)
    return parts.port or 80 if parts.scheme == "http" and is_loopback(parts.hostname or "") else None


def _runs_at(api: str, asked: str) -> ConfigError:
    return ConfigError(
        f"one server of the plant, which runs at {api}", asked, "run `linewise down` first, or leave it out"
    )
