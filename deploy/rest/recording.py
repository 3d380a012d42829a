"""What a server scores, as rows of the result store: a run for each line and bundle, from its first image on."""

from __future__ import annotations

import threading

from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.sink import ResultSink
from deploy.scoring.worker import ScoringWorker
from pipeline.errors import StorageError

SOURCE = "rest"
"""What the store calls the folder of such a run."""


class Recorder:
    """Keeps results. For any number of threads; `close` it always.

    Args:
        store: where the rows go.
        device: what scores, for the runs' rows.
        workers: how many threads do, likewise.
    """

    def __init__(self, store: ResultStore, *, device: str, workers: int) -> None:
        self._store = store
        self._device = device
        self._workers = workers
        self._lock = threading.Lock()  # guards the two below, and the tallies
        self._sink = ResultSink(store)
        self._runs: dict[str, LineScoring] = {}

    def add(self, worker: ScoringWorker, result: ImageResult) -> None:
        """Count a result and hand its row on to be committed within half a second.

        Raises:
            StorageError: the run cannot begin, or earlier rows could not be committed: those, and this one, are lost.
        """
        with self._lock:
            run = self._runs.get(worker.bundle.id)
            if run is None:
                run_id = self._store.begin_run(worker.bundle, SOURCE, device=self._device, workers=self._workers)
                run = self._runs[worker.bundle.id] = LineScoring(worker, run_id)
            try:
                self._sink.put(run.row(result))
            except StorageError:
                self._sink = ResultSink(self._store)  # the old one's thread has ended; the disk may be back
                raise
            run.tally.add(result)

    def close(self) -> None:
        """Commit what is left, and note how many images each run had.

        Raises:
            StorageError: the store cannot be written.
        """
        with self._lock:
            self._sink.close()
            for run in self._runs.values():
                run.end()
                counts = run.tally.counts
                self._store.finish_run(
                    run.run_id,
                    RunStatus.FINISHED,
                    scored=counts.scored,
                    skipped=counts.skipped,
                    flagged=counts.flagged,
                    unreadable=counts.unreadable,
                    seconds=run.seconds or 0.0,
                )
