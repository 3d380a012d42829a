"""A posted image's way: its line at the live bundle, a place among the workers' images, a result, perhaps a row."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from deploy.bundles.registry import Registry
from deploy.engine.devices import ResolvedDevice
from deploy.engine.limits import available_cpus
from deploy.rest.recording import Recorder
from deploy.rest.served_lines import ServedLine, ServedLines
from deploy.results.store import ResultStore
from deploy.scoring.dispatch import Batched, Dispatch, Fused
from deploy.scoring.live_lines import LiveLine
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import Outcome, ScoringWorker
from pipeline.errors import LinewiseError
from pipeline.imaging.images import ImageLimits, Opener, image_limits, open_image


class ImageService:
    """Scores images of any lines, of many threads at once, through one dispatch: on an accelerator in batches that mix
    lines and requests. `close` it always.

    Args:
        registry: where the lines are live.
        device: where all of them run.
        only: names of the lines that are served; empty: all.
        workers: threads that decode (and on a CPU score); None: one for each CPU this process may use.
        store: where rows go; None: nothing is kept.
        opener: reads a file's header and says how its pixels are decoded.
    """

    def __init__(
        self,
        registry: Registry,
        device: ResolvedDevice,
        *,
        only: Collection[str] = (),
        workers: int | None = None,
        store: ResultStore | None = None,
        opener: Opener = open_image,
    ) -> None:
        self.registry = registry
        self.device = device
        self.limits: ImageLimits = image_limits()
        self._opener = opener
        workers = available_cpus() if workers is None else workers
        self.lines = ServedLines(registry, device, only=only, worker_of=self._worker_of)
        self._recorder = None if store is None else Recorder(store, device=device.device, workers=workers)
        batch = device.batch_size
        self._dispatch: Dispatch[ServedLine] = Fused(workers) if batch == 1 else Batched(workers, batch)

    def score(self, line: str, data: bytes, name: str) -> tuple[Outcome, ServedLine]:
        """Score a file's bytes with what is live for the line; waits for it.

        Args:
            line: the line's name.
            data: the file.
            name: what its row calls it.

        Returns:
            What came of it, and the line at the bundle that said so. A file that cannot be used comes back as such.

        Raises:
            ConfigError, BundleError: as `ServedLines.using`.
            DeviceError: the device has not memory enough.
            StorageError: what is scored is to be kept, and could not be.
        """
        with self.lines.using(line) as served:
            _, outcome = self._dispatch.submit(served, SourceItem(name=name, path=None, data=data))
            done = outcome.result()
            if self._recorder is not None:
                self._recorder.add(served.worker, done.result)
            return done, served

    def close(self) -> None:
        """End the threads and commit what is to be kept; requests that are under way must have been answered.

        Raises:
            StorageError: rows could not be committed.
        """
        self._dispatch.close()
        if self._recorder is not None:
            self._recorder.close()

    def live_version(self, line: str) -> str | None:
        """Name of a line's live version; None where none is, or nobody can say."""
        with suppress(LinewiseError):
            return self.registry.live_version(line)
        return None

    def _worker_of(self, live: LiveLine) -> ScoringWorker:
        return ScoringWorker(
            bundle=live.bundle,
            engine=live.engine,
            head=live.head,
            known=None,  # who posts an image asks for it to be scored
            overlays=None,
            limits=self.limits,
            opener=self._opener,
        )
