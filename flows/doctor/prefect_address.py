"""Where the Prefect server is, and whether a proxy of the environment is in the way. Torch-free and Prefect-free.

urllib, httpx and websockets, which speak with the server, each take other variables: what one of them sends to a proxy
is missing, even if the others get through, such as the heartbeats of a run.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from deploy.loopback import is_loopback
from pipeline.errors import ConfigError

_OF_HTTP = ("http", "all", "ws", "socks", "https")  # of a plain address too: a websocket prefers HTTPS_PROXY
_OF_HTTPS = ("https", "all", "wss", "socks")


def prefect_address() -> str | None:
    """PREFECT_API_URL; None: it is not set.

    Raises:
        ConfigError: it is no address, or the way to it goes through a proxy that cannot reach it.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return None
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(
            "an http or https address in PREFECT_API_URL", repr(without_login(url)), "correct or unset it"
        )
    refuse_proxy_to_own_machine(url)
    return url


def without_login(url: str) -> str:
    """The address for a terminal, which a user and a password in it are not."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def proxy_variable(url: str) -> str | None:
    """The variable, as the environment spells it, whose proxy gets something of what is sent to `url`; None: none."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies_environment()
    kind = next((kind for kind in (_OF_HTTPS if parts.scheme == "https" else _OF_HTTP) if kind in proxies), None)
    return None if kind is None else _as_spelt(f"{kind}_proxy")


def in_no_proxy(url: str) -> str:
    """How `url` is reached without a proxy, as a remedy says it."""
    variable = _as_spelt("no_proxy")
    host = urlsplit(url).hostname
    return f"add {host} to {variable}" if os.environ.get(variable) else f"set {variable}={host}"


def _as_spelt(variable: str) -> str:
    """In lower case where the environment has it so: that one counts."""
    return variable if os.environ.get(variable) else variable.upper()


def refuse_proxy_to_own_machine(url: str) -> None:
    """A proxy never reaches the loopback address of this machine: see that none is in the way.

    Raises:
        ConfigError: `url` is a loopback address, and a variable sends it to a proxy.
    """
    host = urlsplit(url).hostname or ""
    if is_loopback(host) and (variable := proxy_variable(url)) is not None:
        raise ConfigError(f"{host}, this machine itself, without a proxy", f"one in {variable}", in_no_proxy(url))
