"""Messages to a webhook: a POST each, over one connection that is kept open."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection

from deploy.bundles.manifest import linewise_version
from deploy.messages.message import payload
from deploy.messages.receiver import ANSWER_SECONDS, Receiver, ReceiverAwayError
from deploy.results.outbox import QueuedMessage

_TRY_LATER = frozenset({408, 429})  # of the answers that else say that the message is not wanted
_MAX_ANSWER_BYTES = 65536


class Webhook(Receiver):
    """An HTTP server that answers 2xx when it has a message. Redirects are not followed, proxies not asked.

    Args:
        host: the server's.
        port: of it.
        path: what is posted to, with its query.
        encrypted: whether it speaks TLS, with a certificate that this system trusts.
        credentials: "user:password", or a token; None: none.
    """

    def __init__(self, host: str, port: int, path: str, *, encrypted: bool, credentials: str | None) -> None:
        self._host, self._port, self._path = host, port, path
        self._context = ssl.create_default_context() if encrypted else None
        self._headers = {"Content-Type": "application/json", "User-Agent": f"Linewise/{linewise_version()}"}
        if credentials is not None:
            self._headers["Authorization"] = _authorization(credentials)
        self._connection: HTTPConnection | None = None

    def deliver(self, messages: Sequence[QueuedMessage]) -> Iterator[str | None]:
        """See `Receiver`. What is neither 2xx nor worth another try is the message's end, a redirect, too."""
        for message in messages:
            status, reason = self._post(message)
            if status in _TRY_LATER or status >= 500:
                raise ReceiverAwayError(f"it answers {status} {reason}")
            yield None if 200 <= status < 300 else f"it answered {status} {reason}"

    def close(self) -> None:
        """See `Receiver`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, message: QueuedMessage) -> tuple[int, str]:
        was_open = self._connection is not None
        try:
            return self._answer(message)
        except (OSError, HTTPException) as error:
            self.close()
            if not was_open:
                raise ReceiverAwayError(str(error) or type(error).__name__) from error
        return self._post(message)  # a server may have ended an idle connection: that says nothing of the server

    def _answer(self, message: QueuedMessage) -> tuple[int, str]:
        if self._connection is None:
            self._connection = self._connect()
        headers = self._headers | {"Idempotency-Key": message.message_id}
        self._connection.request("POST", self._path, payload(message.body), headers)
        response = self._connection.getresponse()
        self._read_to_the_end(response)
        return response.status, response.reason[:100]

    def _connect(self) -> HTTPConnection:
        if self._context is None:
            return HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
        return HTTPSConnection(self._host, self._port, timeout=ANSWER_SECONDS, context=self._context)

    def _read_to_the_end(self, response: HTTPResponse) -> None:
        """So that the connection can be used again; a long answer, or a slow one, is not worth it."""
        left, deadline = _MAX_ANSWER_BYTES, time.monotonic() + ANSWER_SECONDS
        while left > 0 and time.monotonic() < deadline and (chunk := response.read1(left)):
            left -= len(chunk)
        if response.length == 0:
            response.read()  # notices that there is no more
        if not response.isclosed():
            self.close()


def _authorization(credentials: str) -> str:
    if ":" in credentials:
        return f"Basic {base64.b64encode(credentials.encode()).decode()}"
    return f"Bearer {credentials}"
