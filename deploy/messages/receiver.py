"""What a sender needs of a receiver of messages, whatever the protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from deploy.results.outbox import QueuedMessage

ANSWER_SECONDS = 10.0
"""How long a receiver may take for an answer, and for letting us in."""


class ReceiverAwayError(Exception):
    """The receiver cannot be reached or does not take anything now: the same message may be taken later."""


class Receiver(ABC):
    """Takes messages. For one calling thread, which may call `close` at any time and go on."""

    @abstractmethod
    def deliver(self, messages: Sequence[QueuedMessage]) -> Iterator[str | None]:
        """Deliver in order. For each message None once the receiver has it, or why it will never take it.

        Raises:
            ReceiverAwayError: the message that is next was not taken, as far as anyone knows, nor those behind it.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; the next delivery makes another."""
