"""A real MQTT broker, Debian's mosquitto, that tests start and kill, and a subscriber that survives that."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.messages.webhook_server import wait_until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Broker:
    """Mosquitto on one port, which keeps what subscribers have not got over an orderly end."""

    def __init__(self, folder: Path, *settings: str) -> None:
        pytest.importorskip("paho.mqtt.client", reason="no paho-mqtt: pip install 'linewise[mqtt]'")
        if MOSQUITTO is None:
            pytest.skip("no mosquitto: install it (on Debian: apt-get install mosquitto)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir()
        folder.chmod(0o777)  # as root it changes to a user of its own
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/"]
        lines += settings or ["allow_anonymous true"]
        self._file = folder / "mosquitto.conf"
        self._file.write_text("\n".join([*lines, "user root"]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"mqtt://127.0.0.1:{self.port}/plant/7"

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._file], stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def save(self) -> None:
        """Let it write down who subscribed, so that a kill does not take that with it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        wait_until((self._file.parent / "mosquitto.db").exists)

    @contextmanager
    def running(self) -> Iterator[Broker]:
        self.start()
        try:
            yield self
        finally:
            self.end()

    @contextmanager
    def subscribed(
        self, topic: str = "#", user: str | None = None, password: str | None = None, heard: Heard | None = None
    ) -> Iterator[Heard]:
        """Everything below a topic, also what came while the subscriber was away."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        heard = heard or Heard()
        client = Client(CallbackAPIVersion.VERSION2, "the-line", clean_session=False)
        client.reconnect_delay_set(0.05, 0.2)
        if user is not None:
            client.username_pw_set(user, password)
        client.on_connect = lambda *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: heard.subscribed.set()
        client.on_message = lambda _client, _data, message: heard.take(message.topic, message.payload)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        assert heard.subscribed.wait(10)
        try:
            yield heard
        finally:
            client.disconnect()
            client.loop_stop()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto ended at once"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Heard:
    """What a subscriber was told, in order."""

    def __init__(self) -> None:
        self.subscribed = threading.Event()
        self.messages: list[dict[str, Any]] = []
        self.topics: list[str] = []

    def take(self, topic: str, payload: bytes) -> None:
        self.topics.append(topic)
        self.messages.append(json.loads(payload))
