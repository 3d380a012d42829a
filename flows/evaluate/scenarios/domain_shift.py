"""Domain shift: after adaptation the line's camera changes.

Every shift of `pipeline.camera_shift` is tried by itself, at one strength, on every query image. Rows differ in
`condition`, the shift's name, and in `adaptation`:

- **unshifted**: the reference, condition "as taken": support and query from before the change.
- **stale**: the head from before the change; only the query is shifted.
- **re-adapted**: adapted anew, after the change, from the same few images retaken (shifted as the query is; synthetic
  defects are painted on the retaken ones).
- **unadapted**, meta-learners only: the pooled head they start from, trunk and theta0 as they are, without an inner
  loop; its bank is the stale support's.

Thresholds are calibrated from the source lines as taken, and from the support that the head has. Magnification may move
a defect out of view: such images leave support and query of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.conditions import AS_TAKEN, HeadOrigin
from flows.evaluate.scenarios.fold_training import POOLED, Trained
from flows.evaluate.scenarios.support_and_query import AdaptedHead, Query, Support
from flows.progress import Progress
from pipeline.camera_shift import CameraShift
from pipeline.episode_draws import EpisodeImages
from pipeline.evaluation import Fold, Row
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.support import read_defect_mask


def rows(bench: Bench, fold: Fold) -> Iterator[Row]:
    """Train the fold's learners, then adapt, shift and adapt anew on its lines."""
    trained = bench.train(fold, calibrate_starts=True)
    for line in fold.test:
        for seed in range(bench.request.seeds):
            bench.on_progress(Progress(stage=f"test {line.name}", done=seed, total=bench.request.seeds))
            for good in sorted(set(bench.request.good)):
                yield from _Draw(bench, trained, line, good, seed).rows()


def retaken(images: EpisodeImages, shift: CameraShift) -> EpisodeImages:
    """The same images under the shift, without those whose defect it moves out of view."""
    return replace(
        images,
        good=_retaken(images.good, shift),
        defects=_retaken(images.defects, shift),
        query=_retaken(images.query, shift),
    )


def _retaken(records: Sequence[ImageRecord], shift: CameraShift) -> tuple[ImageRecord, ...]:
    shifted = tuple(record.under(shift) for record in records)
    if not shift.moves:
        return shifted
    masks = (read_defect_mask(record) for record in shifted)
    return tuple(record for record, mask in zip(shifted, masks, strict=True) if mask is None or mask.any())


class _Draw:
    """One draw of a line's images with one number of good ones, and the heads adapted to them as taken."""

    def __init__(self, bench: Bench, trained: dict[str, Trained], line: ProductLine, good: int, seed: int) -> None:
        self.bench, self.trained, self.line, self.good, self.seed = bench, trained, line, good, seed
        self.drawn = bench.draw(line, seed)
        self.before = self._adapted(self.drawn)

    def rows(self) -> Iterator[Row]:
        """Before any shift, then under each."""
        query = self.bench.query(self.drawn.query)
        yield from self._measured(self.before, query, condition=AS_TAKEN, adaptation=HeadOrigin.UNSHIFTED)
        for name in self.bench.request.shifts:
            shift = CameraShift(name.value, self.bench.request.shift_strength, self.bench.request.seed)
            shifted = retaken(self.drawn, shift)
            query = self.bench.query(shifted.query)
            keys = {"condition": shift.name, "strength": shift.strength}
            yield from self._measured(self.before, query, adaptation=HeadOrigin.STALE, **keys)
            yield from self._measured(self._unadapted(), query, adaptation=HeadOrigin.UNADAPTED, **keys)
            yield from self._measured(self._adapted(shifted), query, adaptation=HeadOrigin.RE_ADAPTED, **keys)

    def _adapted(self, images: EpisodeImages) -> list[tuple[Support, dict[str, AdaptedHead]]]:
        """Every requested learner's head, for each number of defects."""
        supports = [
            self.bench.support(images, self.good, defects, self.seed)
            for defects in sorted(set(self.bench.request.defects))
        ]
        names = [name.value for name in self.bench.request.learners]
        return [
            (support, {name: self.bench.adapt(name, self.trained[name].learner, support) for name in names})
            for support in supports
        ]

    def _unadapted(self) -> list[tuple[Support, dict[str, AdaptedHead]]]:
        """Under the name of every meta-learner the pooled head that it starts from."""
        names = (name.value for name in self.bench.request.learners)
        starts = {name: start for name in names if (start := self.trained[name].pooled_head) is not None}
        found = []
        for support, _ in self.before:
            once = {
                id(start): self.bench.adapt(POOLED, start.learner, support)
                for start in {id(start): start for start in starts.values()}.values()
            }
            found.append((support, {name: once[id(start)] for name, start in starts.items()}))
        return found

    def _measured(
        self, heads: list[tuple[Support, dict[str, AdaptedHead]]], query: Query, **keys: str | float
    ) -> Iterator[Row]:
        for support, by_name in heads:
            for name, adapted in by_name.items():
                of_head: Trained | None = self.trained[name]
                if keys["adaptation"] == HeadOrigin.UNADAPTED:
                    of_head = of_head.pooled_head
                calibration = of_head and of_head.calibration
                yield self.bench.row(self.line, name, support, adapted, query, calibration=calibration, **keys)
