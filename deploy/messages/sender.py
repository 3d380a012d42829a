"""The thread that delivers what waits in an outbox, in order, for as long as that takes."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import NamedTuple

from deploy.messages.receiver import Receiver, ReceiverAwayError
from deploy.results.outbox import Outbox
from pipeline.errors import StorageError

_BATCH = 100  # messages that are read from the outbox at once
_LOOK_SECONDS = 0.25  # how often it is looked for messages of other processes, and whether their sender has ended
_FORGET_SECONDS = 0.2  # delivered messages leave the outbox so often: until then a kill would have them sent again
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 30.0


class Delivered(NamedTuple):
    """What became of messages: this sender delivered so many; so many wait in the outbox, or were refused for good."""

    delivered: int
    waiting: int
    refused: int


class Sender:
    """Delivers an outbox's messages for one destination in a thread of its own. `close` it always.

    At least once: what is delivered when the process is killed may be delivered again, under the same id. While another
    process sends to the same destination, that one delivers our messages, too.

    Args:
        outbox: has the messages.
        address: of the destination, as the outbox knows it.
        receiver: behind it.
    """

    def __init__(self, outbox: Outbox, address: str, receiver: Receiver) -> None:
        self._outbox = outbox
        self._address = address
        self._receiver = receiver
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._deadline = float("inf")
        self._delivered = 0
        self._trouble: str | None = None
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name="linewise-messages", daemon=True)
        self._thread.start()

    @property
    def remarks(self) -> list[str]:
        """What someone should know now of how delivering goes."""
        said = []
        if self._trouble is not None:
            said.append(
                f"Messages to {self._address} wait in the result store, as it cannot take them now: {self._trouble}."
            )
        if self._refusal is not None:
            said.append(
                f"{self._address} refused messages for good, the first because {self._refusal}: they are kept, see "
                "`linewise messages list`."
            )
        return said

    def wake(self) -> None:
        """Say that there is something new to deliver. From any thread."""
        self._woken.set()

    def close(self, seconds: float) -> Delivered:
        """Deliver what is left for so many seconds at most, then end.

        Raises:
            StorageError: the outbox cannot be read.
        """
        if not self._closed.is_set():
            self._deadline = time.monotonic() + seconds
            self._closed.set()
            self._woken.set()
            self._thread.join(seconds + 1)  # a receiver that says nothing holds it longer: it is left alone then
        found = next((counts for counts in self._outbox.counts() if counts.destination == self._address), None)
        return Delivered(self._delivered, found.waiting if found else 0, found.refused if found else 0)

    def _run(self) -> None:
        failures = 0
        while True:
            try:
                if self._at_end():
                    break
                with self._outbox.claimed(self._address) as is_ours:
                    while is_ours and not self._at_end():
                        were_some = self._deliver_some()
                        failures, self._trouble = 0, None
                        if not were_some:
                            self._wait_for_more()
                if not is_ours:
                    self._wait_for_more()
            except (ReceiverAwayError, StorageError) as error:
                failures, self._trouble = failures + 1, str(error)
                self._pause(failures)
            except Exception as error:  # a thread that ends unseen would deliver nothing more, and say nothing
                failures, self._trouble = failures + 1, f"unexpected {type(error).__name__}: {error}"
                with contextlib.suppress(Exception):  # the next try has a connection that has met nothing yet
                    self._receiver.close()
                self._pause(failures)
        self._receiver.close()

    def _at_end(self) -> bool:
        """Whether it is closed, and nothing waits or nobody waits for it any more."""
        if not self._closed.is_set():
            return False
        return time.monotonic() >= self._deadline or not self._outbox.waiting(self._address, 1)

    def _deliver_some(self) -> bool:
        """Deliver the oldest messages; False where none waits."""
        messages = self._outbox.waiting(self._address, _BATCH)
        done: list[int] = []
        forgotten_at = time.monotonic()
        try:
            for message, refusal in zip(messages, self._receiver.deliver(messages), strict=True):
                if refusal is None:
                    done.append(message.number)
                    self._delivered += 1
                else:
                    self._outbox.refuse(message.number, refusal)
                    self._refusal = self._refusal or refusal
                now = time.monotonic()
                if now - forgotten_at > _FORGET_SECONDS:
                    self._outbox.remove(done)
                    done, forgotten_at = [], now
                if now > self._deadline:
                    break
        finally:
            self._outbox.remove(done)
        return bool(messages)

    def _wait_for_more(self) -> None:
        if not self._closed.is_set():
            self._woken.wait(_LOOK_SECONDS)
            self._woken.clear()
        else:
            time.sleep(0.02)  # another process delivers the rest

    def _pause(self, failures: int) -> None:
        """Longer after each failure, and never at the same time as other senders that met the same one."""
        longest = min(_FIRST_PAUSE_SECONDS * 2 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)
        pause = random.uniform(longest / 2, longest)  # noqa: S311  # no secret
        if not self._closed.wait(pause):
            return
        time.sleep(max(0.0, min(pause, _FIRST_PAUSE_SECONDS, self._deadline - time.monotonic())))
