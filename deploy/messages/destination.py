"""Where messages go: an address that may be shown and stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigError
from pipeline.url_secrets import without_secrets

_PORTS = {"mqtt": 1883, "mqtts": 8883, "http": 80, "https": 443, "opc.tcp": 4840}
_NODE = re.compile(r"node=((?:ns=(\d{1,5});)?(?:i=(\d{1,10})|[sgb]=.+))", re.ASCII)
"""The query of an OPC UA address; the node's id has the specification's own form (part 6, 5.3.1.10)."""
_LAST_NAMESPACE, _LAST_NUMBER = 2**16 - 1, 2**32 - 1  # an id's index of a namespace is a UInt16, its number a UInt32


@dataclass(frozen=True)
class Destination:
    """An address taken apart, without credentials.

    `path` is a topic's prefix, what a webhook is posted to, or an OPC UA server's own; `node` is where that one's
    messages are written, empty for all others.
    """

    address: str
    scheme: str
    host: str
    port: int
    path: str
    node: str = ""


def parse_destination(text: str) -> Destination:
    """Take an address apart.

    Raises:
        ConfigError: it is none, or holds credentials, which the message does not show.
    """
    wanted = "an address such as mqtt://broker:1883/topic/prefix or https://host/path"
    node = ""
    scheme, colon, rest = text.partition("://")
    if (scheme := scheme.lower()) not in _PORTS:
        got = f"one that begins with {scheme!r}" if colon else "text that is none"  # it may hold a password
        raise ConfigError(wanted, got, f"begin it with one of {', '.join(_PORTS)}")
    if "@" in rest or without_secrets(rest) != rest:
        remedy = "leave them out, and set LINEWISE_PUBLISH_CREDENTIALS to user:password (or to a webhook's token)"
        raise ConfigError(wanted, "one with credentials", remedy)
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise ConfigError(wanted, repr(text), "correct it") from error
    if not host or port == 0 or "#" in rest or any(ord(sign) <= 32 or ord(sign) == 127 for sign in rest):
        raise ConfigError(wanted, repr(text), "correct it")
    if scheme in ("http", "https"):
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    elif scheme == "opc.tcp":
        path, found = parts.path, _NODE.fullmatch(unquote(parts.query))
        if found is None:
            remedy = "name the node that is written, as in opc.tcp://host:4840?node=ns=2;s=Line7.Result"
            raise ConfigError(wanted, repr(text), remedy)
        node, namespace, number = found.groups()
        if int(namespace or 0) > _LAST_NAMESPACE or int(number or 0) > _LAST_NUMBER:
            remedy = f"correct the node's id: ns is {_LAST_NAMESPACE} at most, i {_LAST_NUMBER}"
            raise ConfigError(wanted, repr(text), remedy)
    else:
        path = unquote(parts.path).strip("/")
        if parts.query or any(sign in path for sign in "+#\0"):
            raise ConfigError(wanted, repr(text), "leave out ? and +, which no topic that is published has")
    if not path.isascii() and scheme in ("http", "https"):
        raise ConfigError(wanted, repr(text), "write other signs as % and their code")
    return Destination(f"{scheme}://{rest}", scheme, host, port or _PORTS[scheme], path, node)
