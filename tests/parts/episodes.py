"""Small random episodes in feature space: a shift of some channels inside a square is the defect."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.episodes import Episode, QuerySet, SupportSet
from pipeline.features import BackboneSpec, FeatureGroup, FeatureLevel

SPEC = BackboneSpec(
    name="random",
    weights_sha256="0" * 64,
    weights_source="none",
    weights_licence="none",
    height=64,
    width=64,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    levels=(
        FeatureLevel(stride=8, channels=10, height=8, width=8),
        FeatureLevel(stride=16, channels=12, height=4, width=4),
    ),
    groups=(
        FeatureGroup(name="a", level=0, start=0, stop=10),
        FeatureGroup(name="b", level=1, start=0, stop=12),
    ),
    fingerprint="random",
)


class ToyLine:
    """A line whose good images are one pattern plus noise. `shift` is how far a defect moves the features."""

    def __init__(self, seed: int, shift: float = 2.0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.patterns = [self._randn(level.channels, level.height, level.width) for level in SPEC.levels]
        self.direction = [self._randn(level.channels, 1, 1) for level in SPEC.levels]
        self.shift = shift

    def good(self, *shape: int) -> tuple[Tensor, ...]:
        return tuple(pattern + 0.3 * self._randn(*shape, *pattern.shape) for pattern in self.patterns)

    def defective(self, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
        levels = self.good(count)
        masks = torch.zeros(count, 8, 8)
        for image in range(count):
            row, column = (2 * int(torch.randint(3, (1,), generator=self.generator)) for _ in range(2))
            masks[image, row : row + 2, column : column + 2] = 1.0
            levels[0][image, :, row : row + 2, column : column + 2] += self.shift * self.direction[0]
            levels[1][image, :, row // 2, column // 2] += self.shift * self.direction[1][:, 0, 0]
        return levels, masks

    def support(self, k: int = 4, m: int = 2, n: int = 4, a: int = 3, *, masks: bool = True) -> SupportSet:
        synthetic, synthetic_masks = self.defective(n)
        defects, defect_masks = self.defective(m)
        return SupportSet(
            good=self.good(k),
            augmented=self.good(k, a),
            synthetic=synthetic,
            synthetic_masks=synthetic_masks,
            synthetic_parents=torch.arange(n) % k,
            defects=defects,
            defect_masks=defect_masks if masks else torch.zeros_like(defect_masks),
            has_mask=torch.full((m,), masks),
        )

    def query(self, good: int = 6, bad: int = 6) -> QuerySet:
        levels, masks = self.defective(bad)
        together = tuple(torch.cat([g, b]) for g, b in zip(self.good(good), levels, strict=True))
        return QuerySet(
            levels=together,
            labels=torch.arange(good + bad) >= good,
            masks=torch.cat([torch.zeros(good, 8, 8), masks]),
            has_mask=torch.ones(good + bad, dtype=torch.bool),
        )

    def episode(self, **support: int) -> Episode:
        return Episode(line="toy", support=self.support(**support), query=self.query())

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)
