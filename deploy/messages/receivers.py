"""The receiver behind a destination."""

from __future__ import annotations

import hashlib
import platform

from deploy.messages.destination import Destination
from deploy.messages.mqtt import MqttBroker
from deploy.messages.opcua import OpcUaServer
from deploy.messages.receiver import Receiver
from deploy.messages.webhook import Webhook


def receiver_of(destination: Destination, credentials: str | None, *, database: str) -> Receiver:
    """The receiver, to which nobody has connected yet.

    Args:
        destination: where it is.
        credentials: "user:password", or a webhook's token; None: none.
        database: where its outbox is, by which a broker tells us from others.

    Raises:
        ConfigError: what its protocol needs is not installed.
    """
    host, port, path = destination.host, destination.port, destination.path
    if destination.scheme in ("http", "https"):
        return Webhook(host, port, path, encrypted=destination.scheme == "https", credentials=credentials)
    if destination.scheme == "opc.tcp":
        shown_host = f"[{host}]" if ":" in host else host
        return OpcUaServer(f"opc.tcp://{shown_host}:{port}{path}", destination.node, credentials=credentials)
    known_by = hashlib.sha256(f"{platform.node()}\n{database}\n{destination.address}".encode()).hexdigest()
    client_id = f"linewise-{known_by[:14]}"  # brokers need not take more than 23 characters
    encrypted = destination.scheme == "mqtts"
    return MqttBroker(host, port, path, encrypted=encrypted, credentials=credentials, client_id=client_id)
