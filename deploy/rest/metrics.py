"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deploy.scoring.image_result import FileStatus, ImageResult

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counts of one server, apart from those of any other in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = Counter(
            "linewise_images",
            "Images answered, by line and decision; UNREADABLE: they could not be used.",
            ("line", "decision"),
            registry=self._registry,
        )
        self.refused = Counter(
            "linewise_refused",
            "Images refused for their size or form, their time, or a full queue, by HTTP status.",
            ("status",),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "linewise_image_seconds",
            "From the first byte of an image's request to its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.waiting = Gauge("linewise_waiting_images", "Images that are not answered yet.", registry=self._registry)

    def answered(self, line: str, result: ImageResult) -> None:
        """Count an image."""
        scored = result.status is FileStatus.SCORED and result.decision is not None
        self._images.labels(line, result.decision if scored else "UNREADABLE").inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
