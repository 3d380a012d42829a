"""Publishing a scoring run's results: which of them become messages, and the sender that delivers those."""

from __future__ import annotations

from collections.abc import Collection

from deploy.messages.message import new_message, told_of
from deploy.messages.part_message import part_message, told_of_part
from deploy.messages.receiver import Receiver
from deploy.messages.sender import Delivered, Sender
from deploy.messages.told import Told
from deploy.results.outbox import Outbox
from deploy.results.records import NewMessage, NewPart, NewResult

COMMIT_SECONDS = 0.02
"""How long a result that is to be told may wait for others before it is committed."""


class Publisher:
    """Makes messages of results, and has them delivered once they are committed. `end` it always.

    Scoring never waits for the receiver: what it does not take stays in the outbox, on the disk.

    Args:
        outbox: of the store that the results go to.
        address: of the destination.
        told: which results are told.
        receiver: behind the address.
    """

    def __init__(self, outbox: Outbox, address: str, told: Collection[Told], receiver: Receiver) -> None:
        self._address = address
        self._told = frozenset(told)
        self._sender = Sender(outbox, address, receiver)

    @property
    def remarks(self) -> list[str]:
        """See `Sender`."""
        return self._sender.remarks

    def message(self, row: NewResult) -> NewMessage | None:
        """What is to be told of a result; None: nothing."""
        return new_message(row, self._address) if told_of(row) in self._told else None

    def part_message(self, part: NewPart) -> NewMessage | None:
        """What is to be told of a part of several views; None: nothing."""
        return part_message(part, self._address) if told_of_part(part) & self._told else None

    def committed(self) -> None:
        """Say that results were committed. From any thread."""
        self._sender.wake()

    def end(self, seconds: float) -> Delivered:
        """Deliver what is left, for so many seconds at most; may be called again.

        Raises:
            StorageError: the outbox cannot be read.
        """
        return self._sender.close(seconds)
