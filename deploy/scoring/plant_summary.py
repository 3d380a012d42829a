"""What a run over a plant says: about each line at each bundle, and about all of them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.scoring.image_result import FileStatus
from deploy.scoring.line_scoring import LineScoring


@dataclass(frozen=True, kw_only=True)
class PlantSummary:
    """A finished run over a plant.

    Args:
        lines: a line at a bundle each, in the order they began; a promotion on the way makes two of a line.
        skipped: sentence by folder, for the folders that no usable line belongs to.
        skipped_images: how many images lie in them.
        problems: promoted bundles that could not be used, in sentences; the line went on with the one before.
        backbones: how many backbone sessions served all lines.
        seconds: the run took.
    """

    lines: tuple[LineScoring, ...]
    skipped: dict[str, str]
    skipped_images: int
    problems: tuple[str, ...]
    backbones: int
    seconds: float

    def count(self, status: FileStatus) -> int:
        """How many files ended so, over all lines."""
        return sum(line.tally.files[status] for line in self.lines)

    @property
    def found(self) -> int:
        """Files of registered lines: scored, scored before, unreadable."""
        return sum(line.tally.done for line in self.lines)

    @property
    def images_per_second(self) -> float | None:
        """Scored files a second, decoding and overlays included; None: nothing was new."""
        scored = self.count(FileStatus.SCORED)
        return scored / self.seconds if scored and self.seconds > 0 else None
