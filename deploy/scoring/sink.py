"""Between the workers and the result store: one thread that commits, so that scoring never waits for a disk."""

from __future__ import annotations

import queue
import threading
import time

from deploy.results.store import TRANSACTION_ROWS, Duplicate, ResultRow, ResultStore

_COMMIT_SECONDS = 0.5  # a slow run commits this often: progress counts committed rows, and should not jump
_MAX_DUPLICATES = 10_000  # named; the rest is counted


class ResultSink:
    """Takes rows and commits them in its own thread, 256 to a transaction. For one producer; `close` it always.

    Args:
        store: where the rows go.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._rows: queue.Queue[ResultRow | None] = queue.Queue(maxsize=4 * TRANSACTION_ROWS)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="linewise-results", daemon=True)
        self.duplicates: list[Duplicate] = []
        self.duplicate_count = 0
        self.committed = 0
        """How many of the rows given are committed."""
        self._thread.start()

    def put(self, row: ResultRow) -> None:
        """Hand a row over. Blocks only when the disk is far behind.

        Raises:
            StorageError: an earlier row could not be committed. Rows given since the last commit are lost.
        """
        if self._failure is not None:
            raise self._failure
        self._rows.put(row)

    def close(self) -> None:
        """Commit what is left.

        Raises:
            StorageError: a row could not be committed, and `put` had no chance to say so.
        """
        if self._thread.is_alive():
            self._rows.put(None)
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        ended = False
        while not ended:
            rows, ended = self._collect()
            if not rows or self._failure is not None:  # after a failure rows are taken and dropped: nobody may wait
                continue
            try:
                found = self._store.add(rows)
            except Exception as error:
                self._failure = error
                continue
            self.committed += len(rows)
            self.duplicate_count += len(found)
            self.duplicates.extend(found[: _MAX_DUPLICATES - len(self.duplicates)])

    def _collect(self) -> tuple[list[ResultRow], bool]:
        """Rows for one transaction, and whether they are the last: 256, or what came in half a second."""
        rows: list[ResultRow] = []
        due = time.monotonic() + _COMMIT_SECONDS
        while len(rows) < TRANSACTION_ROWS:
            try:
                row = self._rows.get(timeout=max(due - time.monotonic(), 0))
            except queue.Empty:
                break
            if row is None:
                return rows, True
            rows.append(row)
        return rows, False
