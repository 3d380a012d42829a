"""Messages to an MQTT broker: QoS 1, a topic for each line and decision."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deploy.messages.message import payload
from deploy.messages.receiver import ANSWER_SECONDS, Receiver, ReceiverAwayError
from deploy.results.outbox import QueuedMessage
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

_IN_FLIGHT = 20  # messages that the broker has not acknowledged yet; brokers take so many without being told to
_KEEP_ALIVE_SECONDS = 30


class MqttBroker(Receiver):
    """A broker that acknowledges what it has. Speaks MQTT 3.1.1, which every broker does.

    Args:
        host: the broker's.
        port: of it.
        prefix: begins every topic; may be empty.
        encrypted: whether it speaks TLS, with a certificate that this system trusts.
        credentials: "user:password"; None: none.
        client_id: what the broker knows us by; a second one of the same name takes the first one's place.

    Raises:
        ConfigError: paho-mqtt is not installed.
    """

    def __init__(
        self, host: str, port: int, prefix: str, *, encrypted: bool, credentials: str | None, client_id: str
    ) -> None:
        try:
            import paho.mqtt.client  # noqa: F401, PLC0415  # an extra, and half of a plant's runs need it not
        except ModuleNotFoundError as error:
            raise ConfigError("paho-mqtt, to publish over MQTT", "none", "pip install 'linewise[mqtt]'") from error
        self._host, self._port, self._prefix = host, port, prefix
        self._context = ssl.create_default_context() if encrypted else None
        self._credentials = credentials
        self._client_id = client_id
        self._session: _Session | None = None

    def deliver(self, messages: Sequence[QueuedMessage]) -> Iterator[str | None]:
        """See `Receiver`. A broker refuses no single message."""
        if self._session is not None and self._session.is_lost:
            self.close()
        try:
            session = self._session = self._session or self._connected()
            for start in range(0, len(messages), _IN_FLIGHT):
                some = messages[start : start + _IN_FLIGHT]
                yield from session.publish([(topic(self._prefix, each), payload(each.body)) for each in some])
        except (OSError, ReceiverAwayError) as error:
            self.close()
            raise ReceiverAwayError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """See `Receiver`."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _connected(self) -> _Session:
        from paho.mqtt.client import Client  # noqa: PLC0415
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        client = Client(CallbackAPIVersion.VERSION2, self._client_id, reconnect_on_failure=False)
        if self._context is not None:
            client.tls_set_context(self._context)
        if self._credentials is not None:
            user, _, password = self._credentials.partition(":")
            client.username_pw_set(user, password)
        session = _Session(client)
        try:
            session.open(self._host, self._port)
        except BaseException:
            session.close()
            raise
        return session


class _Session:
    """One connection to a broker, from its beginning to its end; paho's thread serves it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._answer: str | None = None  # to our request for a connection; empty: granted
        self._lost: str | None = None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect

    @property
    def is_lost(self) -> bool:
        """Whether it came to its end by itself."""
        return self._lost is not None

    def open(self, host: str, port: int) -> None:
        """Connect, and wait for the broker's word."""
        self._client.connect_timeout = ANSWER_SECONDS
        self._client.connect(host, port, keepalive=_KEEP_ALIVE_SECONDS)
        self._client.loop_start()
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._answer is None and self._lost is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._answer != "":
            raise ReceiverAwayError(self._answer or self._lost or "it does not answer")

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> Iterator[None]:
        """Send topics and payloads at once, then say of one after the other that the broker has it."""
        sent = [self._client.publish(name, content, qos=1) for name, content in messages]
        for information in sent:
            self._wait_for(information)
            yield None

    def close(self) -> None:
        """End it."""
        self._client.disconnect()
        self._client.loop_stop()

    def _wait_for(self, information: MQTTMessageInfo) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while information.rc != 0 or not information.is_published():
            if information.rc != 0 or self._lost is not None:
                raise ReceiverAwayError(self._lost or "the connection is lost")
            if time.monotonic() > deadline:
                raise ReceiverAwayError("it does not acknowledge what it is sent")
            information.wait_for_publish(0.1)

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
        self._answer = f"it answers: {reason}" if getattr(reason, "is_failure", False) else ""

    def _on_disconnect(
        self, _client: object, _data: object, _flags: object, reason: object, _properties: object
    ) -> None:
        self._lost = f"it ended the connection: {reason}"


def topic(prefix: str, message: QueuedMessage) -> str:
    """`prefix/line/decision`; what only subscriptions may hold, in a line's name, is a dash."""
    line = message.line.translate(str.maketrans("+#\0", "---"))
    return "/".join(part for part in (prefix, line, message.decision) if part)
