"""Receivers of messages for `benchmarks.messages`: a mosquitto with a subscriber, a webhook, an OPC UA server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deploy.messages.destination import parse_destination

OnMessage = Callable[[bytes], None]
Listening = AbstractContextManager[tuple[str, Callable[[OnMessage], None]]]
"""A receiver's address, and how to say who hears what comes there."""


@contextmanager
def broker(root: Path) -> Iterator[str]:
    """The address of a mosquitto of our own."""
    program = shutil.which("mosquitto", path=f"/usr/sbin:{os.environ['PATH']}")
    if program is None:
        raise RuntimeError("expected mosquitto, got none: apt-get install mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = root / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        time.sleep(1)
        yield f"mqtt://127.0.0.1:{port}/plant"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def subscribed(address: str) -> Iterator[tuple[str, Callable[[OnMessage], None]]]:
    """A broker's address, and how to say who hears what is published there."""
    from paho.mqtt.client import Client  # noqa: PLC0415  # an extra
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

    heard: list[OnMessage] = [lambda _: None]
    client, ready = Client(CallbackAPIVersion.VERSION2), threading.Event()
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: heard[0](bytes(message.payload))
    client.connect("127.0.0.1", parse_destination(address).port)
    client.subscribe("#", qos=1)
    client.loop_start()
    ready.wait(10)
    try:
        yield address, lambda listener: heard.__setitem__(0, listener)
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def webhook() -> Iterator[tuple[str, Callable[[OnMessage], None]]]:
    """The address of a webhook, and how to say who hears what is posted there."""
    heard: list[OnMessage] = [lambda _: None]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            heard[0](self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # the base class's signature
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/in", lambda listener: heard.__setitem__(0, listener)
        server.shutdown()


@contextmanager
def opcua() -> Iterator[tuple[str, Callable[[OnMessage], None]]]:
    """The address of a String variable of an OPC UA server, and how to say who hears what is written there."""
    from asyncua import ua  # noqa: PLC0415  # an extra
    from asyncua.common.callback import CallbackType  # noqa: PLC0415
    from asyncua.sync import Server  # noqa: PLC0415

    heard: list[OnMessage] = [lambda _: None]

    def after_write(event: Any, _dispatcher: object) -> None:
        for item in event.request_params.NodesToWrite:
            if isinstance(text := item.Value.Value.Value, str):  # the server writes its own clock, too
                heard[0](text.encode())

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    variable = server.nodes.objects.add_variable(ua.NodeId.from_string("ns=1;s=Result"), "Result", "")
    variable.set_writable()
    with server:
        server.aio_obj.subscribe_server_callback(CallbackType.PostWrite, after_write)
        address = f"opc.tcp://127.0.0.1:{port}?node=ns=1;s=Result"
        yield address, lambda listener: heard.__setitem__(0, listener)
