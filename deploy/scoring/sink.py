"""Between the workers and the result store: one thread that commits, so that scoring never waits for a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.results.records import Duplicate, NewPart, NewResult
from deploy.results.store import TRANSACTION_ROWS, ResultStore

_COMMIT_SECONDS = 0.5  # a slow run commits this often: progress counts committed rows, and should not jump
_MAX_WAITING = 4 * TRANSACTION_ROWS
_MAX_DUPLICATES = 10_000  # named; the rest is counted


@dataclass
class FoundDuplicates:
    """Contents of a run that the store had under another path when their rows came."""

    named: list[Duplicate] = field(default_factory=list)
    count: int = 0


class ResultSink:
    """Takes rows and commits them in its own thread, 256 to a transaction. For one producer; `close` it always.

    The thread is woken for a transaction, not for a row: that would cost more than committing it.

    Args:
        store: where the rows go.
        commit_seconds: how long a row may wait for others; None: half a second.
        on_commit: called from that thread after each transaction; None: nobody asks.
    """

    def __init__(
        self,
        store: ResultStore,
        *,
        commit_seconds: float | None = None,
        on_commit: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._commit_seconds = _COMMIT_SECONDS if commit_seconds is None else commit_seconds
        self._on_commit = on_commit
        self._changed = threading.Condition()  # guards the three below
        self._rows: deque[NewResult | NewPart] = deque()
        self._closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="linewise-results", daemon=True)
        self.duplicates = FoundDuplicates()
        self.committed = 0
        """How many of the rows given are committed."""
        self._thread.start()

    def put(self, row: NewResult | NewPart) -> None:
        """Hand a row over. Blocks only when the disk is far behind.

        Raises:
            StorageError: an earlier row could not be committed. Rows given since the last commit are lost.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._rows) < _MAX_WAITING or self._failure is not None)
            if self._failure is not None:
                raise self._failure
            self._rows.append(row)
            if len(self._rows) in (1, TRANSACTION_ROWS):
                self._changed.notify_all()

    def close(self) -> None:
        """Commit what is left.

        Raises:
            StorageError: a row could not be committed, and `put` had no chance to say so.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while rows := self._next_rows():
            try:
                found = self._store.add(rows)
            except Exception as error:
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            self.committed += len(rows)
            if self._on_commit is not None:
                self._on_commit()
            self.duplicates.count += len(found)
            self.duplicates.named.extend(found[: _MAX_DUPLICATES - len(self.duplicates.named)])

    def _next_rows(self) -> list[NewResult | NewPart]:
        """Rows for one transaction: 256, or what came in time; none when all is committed and closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._rows)
            self._changed.wait_for(lambda: self._closed or len(self._rows) >= TRANSACTION_ROWS, self._commit_seconds)
            rows = [self._rows.popleft() for _ in range(min(len(self._rows), TRANSACTION_ROWS))]
            self._changed.notify_all()
            return rows
