"""Product-invariant inputs: what a head sees, in units of the line's own normal variation.

A head learned on other lines fits a new one only if its inputs do not depend on the product. So nothing absolute is
fed to it: every distance is divided by the support's own leave-one-out (LOO) distance, the one a good image shows
when it is scored against the other good images only.

Shape letters: B images, K good images, L levels, G groups over all levels, C channels of a level, h x w its grid,
H x W the finest grid, D = 4 G + L + 6 scalar channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.bank import BankMatch, build_banks
from model_zoo.heads.defect_cells import defective_cells
from model_zoo.heads.positional import PositionalReference
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.features import BackboneSpec

LevelGroups = tuple[tuple[tuple[int, int], ...], ...]
"""Per level, the (start, stop) channel range of each of its groups."""

_PLACES = 16  # good images that a patch is compared with at its own place: each costs time in every scored image
_CHUNK = 4  # images matched at once: the patch-by-row matrix is what fills memory


def level_groups(spec: BackboneSpec) -> LevelGroups:
    """The channel ranges of a backbone's groups, per level."""
    return tuple(
        tuple((group.start, group.stop) for group in spec.groups if group.level == level)
        for level in range(len(spec.levels))
    )


def token_levels(spec: BackboneSpec) -> tuple[int, ...]:
    """The levels of a backbone that are a transformer's tokens."""
    return tuple(sorted({group.level for group in spec.groups if group.is_tokens}))


def scalar_channels(spec: BackboneSpec) -> int:
    """D, the number of scalar channels a backbone's features give."""
    return 4 * len(spec.groups) + len(spec.levels) + 6


@dataclass(frozen=True, kw_only=True)
class InvariantConfig:
    """Budgets of the inputs: bank rows per level, defect prototype rows per level, positional window in cells."""

    bank_budget: int = 2048
    defect_budget: int = 256
    position_window: int = 1


class HeadInputs(NamedTuple):
    """What a head sees of B images.

    scalars: (B, D, H, W) log ratios. residuals: per level (B, C, h, w) |patch - matched normal patch| in LOO units.
    log_base: (B, H, W) log of the fused, LOO-scaled nearest-neighbour distance: the memory bank's own anomaly map.
    nearest: (B, h, w) int64 matched rows of the coarsest bank's deepest group.
    """

    scalars: Tensor
    residuals: tuple[Tensor, ...]
    log_base: Tensor
    nearest: Tensor


class _Exclusion(NamedTuple):
    """What a batch item must not be compared with: rows of each bank, positional references, defect prototypes."""

    bank: tuple[Tensor, ...]
    positional: Tensor
    defects: Tensor


class InvariantInputs(nn.Module):
    """Feature levels in, `HeadInputs` out; exportable. A support set fixes what it compares with and its units."""

    scale: Tensor
    scale_position: Tensor
    scale_tail: Tensor
    variability: Tensor
    loo_max: Tensor
    loo_mean: Tensor
    has_defects: Tensor
    defect_images: Tensor

    def __init__(self, support: SupportSet, groups: LevelGroups, config: InvariantConfig, *, seed: int) -> None:
        super().__init__()
        self.groups = groups
        self.k = support.k
        H, W = support.good[0].shape[-2:]
        self.grid = (H, W)
        self.banks = nn.ModuleList(build_banks(support, groups, budget=config.bank_budget, seed=seed))
        self.positional = nn.ModuleList(
            PositionalReference(good[:_PLACES], augmented[:_PLACES], ranges, window=config.position_window)
            for good, augmented, ranges in zip(support.good, support.augmented, groups, strict=True)
        )
        self._set_scales(support)
        self._set_defects(support, config, seed)

    def forward(self, *levels: Tensor) -> HeadInputs:
        """Inputs of a batch of feature levels (B, C, h, w), finest first."""
        return self._inputs(levels, None)

    def leave_one_out(self, support: SupportSet) -> HeadInputs:
        """Inputs of the K good images, each against the others only (K = 1: against its own augmentations).

        The support may hold more in full; the first K are seen.
        """
        return self._chunked(tuple(level[: self.k] for level in support.good), self._exclude_good(torch.arange(self.k)))

    def of_synthetic(self, support: SupportSet) -> HeadInputs:
        """Inputs of the N synthetic defects, each against the banks without the good image it was painted on."""
        return self._chunked(support.synthetic, self._exclude_good(support.synthetic_parents))

    def of_defects(self, support: SupportSet) -> HeadInputs:
        """Inputs of the M real defects, each without its own prototypes."""
        own = torch.arange(support.m)
        nothing = self._exclude_good(torch.full((support.m,), -1))
        return self._chunked(support.defects, nothing._replace(defects=self.defect_images[None] == own[:, None]))

    def of_query(self, levels: TensorLevels) -> HeadInputs:
        """`forward` in chunks, without gradients: for many images at once."""
        return self._chunked(levels, None)

    # --- the inputs -------------------------------------------------------------------------------------------------

    def _inputs(self, levels: TensorLevels, without: _Exclusion | None) -> HeadInputs:
        matches, positions = self._match(levels, without)
        distance = torch.cat([self._upsample(match.distances) for match in matches], 1)  # (B, G, H, W)
        position = torch.cat([self._upsample(value) for value in positions], 1)
        ratio = distance / self.scale
        base = ratio.mean(1, keepdim=True)
        log_base = base.log()
        ones = torch.ones_like(base)
        scalars = [
            ratio.log(),
            (position / self.scale_position).log(),
            (distance / self.scale_tail).log(),
            self.variability * ones,
            log_base,
            F.avg_pool2d(log_base, 3, 1, 1, count_include_pad=False),
            F.avg_pool2d(log_base, 7, 1, 3, count_include_pad=False),
            (base.amax((2, 3), keepdim=True) / self.loo_max).log() * ones,
            (base.mean((2, 3), keepdim=True) / self.loo_mean).log() * ones,
            *self._defect_channels(levels, matches, None if without is None else without.defects),
        ]
        residuals = tuple(
            match.residuals.abs() / scale for match, scale in zip(matches, self._channel_scales(), strict=True)
        )
        coarse = matches[-1].rows[:, -1].reshape(-1, *levels[-1].shape[-2:])
        return HeadInputs(torch.cat(scalars, 1), residuals, log_base[:, 0], coarse)

    def _match(self, levels: TensorLevels, without: _Exclusion | None) -> tuple[list[BankMatch], list[Tensor]]:
        matches, positions = [], []
        for index, level in enumerate(levels):
            matches.append(self.banks[index](level, None if without is None else without.bank[index]))
            positions.append(self.positional[index](level, None if without is None else without.positional))
        return matches, positions

    def _defect_channels(
        self, levels: TensorLevels, matches: list[BankMatch], excluded: Tensor | None
    ) -> Iterator[Tensor]:
        """Per level the log ratio of normal to defect distance, then a flag: 1 where there are defect prototypes."""
        flag = self.has_defects
        if excluded is not None:
            flag = flag * (~excluded).any(1).float()[:, None, None, None]
        for index, (level, match) in enumerate(zip(levels, matches, strict=True)):
            prototypes: Tensor = getattr(self, f"prototypes_{index}")
            h, w = level.shape[-2:]
            patches = level.flatten(2).transpose(1, 2)
            order = patches @ (prototypes.t() * -2.0) + prototypes.square().sum(1)
            if excluded is not None:
                order = order + (excluded * 1e9)[:, None, :]
            squared = (order.amin(-1) + patches.square().sum(-1)).clamp_min(1e-6) / patches.shape[-1]
            to_defect = squared.sqrt().reshape(-1, 1, h, w)
            to_normal = match.residuals.square().mean(1, keepdim=True).clamp_min(1e-6).sqrt()
            yield self._upsample((to_normal / (to_defect + 0.05)).log()) * flag
        yield torch.ones_like(matches[0].distances[:, :1]) * flag

    def _upsample(self, maps: Tensor) -> Tensor:
        if tuple(maps.shape[-2:]) == self.grid:
            return maps
        return F.interpolate(maps, self.grid, mode="bilinear", align_corners=False)

    def _channel_scales(self) -> Iterator[Tensor]:
        """Per level (C, 1, 1): each channel's group LOO median."""
        group = 0
        for ranges in self.groups:
            parts = []
            for start, stop in ranges:
                parts.append(self.scale[group].expand(stop - start, 1, 1))
                group += 1
            yield torch.cat(parts)

    # --- what is fixed by the support -------------------------------------------------------------------------------

    @torch.no_grad()
    def _set_scales(self, support: SupportSet) -> None:
        parts = []
        for images in torch.arange(self.k).split(_PLACES):
            found, places = self._match(tuple(level[images] for level in support.good), self._exclude_good(images))
            parts.append([*(match.distances for match in found), *places])
        seen = [torch.cat(column) for column in zip(*parts, strict=True)]
        distances, positions = seen[: len(self.groups)], seen[len(self.groups) :]
        flat = [d.transpose(0, 1).flatten(1) for d in distances]  # per level (G_l, K * P)
        column = (-1, 1, 1)
        self.register_buffer("scale", torch.cat([f.median(1).values for f in flat]).reshape(column))
        self.register_buffer("scale_tail", torch.cat([f.quantile(0.99, dim=1) for f in flat]).reshape(column))
        self.register_buffer(
            "scale_position",
            torch.cat([p.transpose(0, 1).flatten(1).median(1).values for p in positions]).reshape(column),
        )
        local = torch.cat(
            [
                self._upsample(F.avg_pool2d(d.mean(0, keepdim=True), 5, 1, 2, count_include_pad=False))
                for d in distances
            ],
            1,
        )
        self.register_buffer("variability", (local / self.scale).log())
        base = (torch.cat([self._upsample(d) for d in distances], 1) / self.scale).mean(1)
        self.register_buffer("loo_max", base.amax((1, 2)).mean())
        self.register_buffer("loo_mean", base.mean())

    @torch.no_grad()
    def _set_defects(self, support: SupportSet, config: InvariantConfig, seed: int) -> None:
        """Prototypes: the patches inside the masks; of a defect known by its label only, its most anomalous 2 %.

        There are always `defect_budget` rows a level, the images taking turns, so that one exclusion serves all levels
        and the exported graph has one structure for any number of defects. Without defects they are zero and unused.
        """
        m, budget = support.m, config.defect_budget
        self.register_buffer("has_defects", torch.tensor(float(m > 0)))
        self.register_buffer("defect_images", torch.arange(budget) % m if m else torch.full((budget,), -1))
        generator = torch.Generator().manual_seed(seed)
        for index, level in enumerate(support.defects):
            prototypes = torch.zeros(budget, level.shape[1])
            for image in range(m):
                turns = (self.defect_images == image).nonzero()[:, 0]
                inside = defective_cells(support, image, self._suspicion(level[image : image + 1], index))
                pick = torch.randint(len(inside), (len(turns),), generator=generator)
                if len(inside) >= len(turns):
                    pick = torch.randperm(len(inside), generator=generator)[: len(turns)]
                prototypes[turns] = level[image].flatten(1).t()[inside[pick]]
            self.register_buffer(f"prototypes_{index}", prototypes)

    def _suspicion(self, level: Tensor, index: int) -> Tensor:
        """How far the patches of one image are from the bank of level `index` (h, w)."""
        return self.banks[index](level).distances.mean(1)[0]

    # --- leave-one-out ----------------------------------------------------------------------------------------------

    def _exclude_good(self, images_B: Tensor) -> _Exclusion:
        """Leave one good image out per batch item (-1: none). With a single good image only its plain rows go, so
        that its augmentations stand in for other good images.
        """

        def of(sources: Tensor) -> Tensor:
            own = sources[:, 0][None] == images_B[:, None]
            return own & (sources[:, 1] == -1)[None] if self.k == 1 else own

        banks = tuple(of(bank.sources) for bank in self.banks)  # type: ignore[arg-type]
        rows = len(self.defect_images) if hasattr(self, "defect_images") else 0
        return _Exclusion(banks, of(self.positional[0].sources), torch.zeros(len(images_B), rows, dtype=torch.bool))  # type: ignore[arg-type]

    @torch.no_grad()
    def _chunked(self, levels: TensorLevels, without: _Exclusion | None) -> HeadInputs:
        parts = []
        for start in range(0, len(levels[0]), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            part = None
            if without is not None:
                part = _Exclusion(
                    tuple(bank[chunk] for bank in without.bank), without.positional[chunk], without.defects[chunk]
                )
            parts.append(self._inputs(tuple(level[chunk] for level in levels), part))
        return concatenate(parts)


def concatenate(parts: list[HeadInputs]) -> HeadInputs:
    """One batch from several."""
    assert parts, "nothing to concatenate"
    return HeadInputs(
        torch.cat([p.scalars for p in parts]),
        tuple(torch.cat(levels) for levels in zip(*(p.residuals for p in parts), strict=True)),
        torch.cat([p.log_base for p in parts]),
        torch.cat([p.nearest for p in parts]),
    )
