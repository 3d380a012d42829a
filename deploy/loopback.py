"""This machine by its own names: what a server that asks for no token answers to.

A website may let its own name lead to this machine (DNS rebinding): then its pages reach a server here as their own.
The browser still says that name, as the Host.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

_HOST = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/?#@\[\]]+))(?::\d{0,5})?")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_loopback(header: str) -> bool:
    """Whether a Host header names this machine itself: `localhost:4290`, `127.0.0.1`, `[::1]:4290`."""
    parts = _HOST.fullmatch(header)
    return parts is not None and is_loopback(parts["literal"] or parts["name"])


def is_own_origin(origin: str, header: str) -> bool:
    """Whether an Origin header is of pages that came from where the request goes, by its Host header."""
    return bool(header) and origin in (f"http://{header}", f"https://{header}")
