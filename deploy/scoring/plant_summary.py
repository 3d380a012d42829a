"""What a run over a plant says: about each line at each bundle, and about all of them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.reports.counts import Counts
from deploy.reports.parts import PartCounts
from deploy.scoring.line_scoring import LineScoring


@dataclass(frozen=True, kw_only=True)
class PlantSummary:
    """A finished run over a plant.

    Args:
        lines: a line at a bundle each, in the order they began; a promotion on the way makes two of a line.
        skipped: sentence by folder, for the folders that no usable line belongs to, and for images that are gone.
        skipped_images: how many images that is.
        problems: promoted bundles that could not be used, in sentences; the line went on with the one before.
        backbones: how many backbone sessions served all lines.
        seconds: the run took.
        remarks: what someone should know of the images.
    """

    lines: tuple[LineScoring, ...]
    skipped: dict[str, str]
    skipped_images: int
    problems: tuple[str, ...]
    backbones: int
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def counts(self) -> Counts:
        """Of the files of registered lines, over all of them."""
        return Counts.total(line.tally.counts for line in self.lines)

    @property
    def images_per_second(self) -> float | None:
        """See `Counts.per_second`."""
        return self.counts.per_second(self.seconds)

    @property
    def parts(self) -> PartCounts | None:
        """Of several views, over all lines; None: each image was judged by itself."""
        tallies = [line.parts.tally for line in self.lines if line.parts is not None]
        return PartCounts.total(tally.shown.counts for tally in tallies) if tallies else None

    @property
    def parts_fit(self) -> bool:
        """Whether the rule for parts fits an image of any line; True, too, where there is no rule or no image."""
        tallies = [line.parts.tally for line in self.lines if line.parts is not None]
        return not tallies or self.counts.found == 0 or any(tally.fits for tally in tallies)
