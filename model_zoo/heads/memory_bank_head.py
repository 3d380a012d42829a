"""The head of the memory bank: nearest-neighbour distances alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from model_zoo.heads.bank import AT_BORDER, BankMatch, MemoryBank, build_banks
from model_zoo.heads.invariant_inputs import InvariantInputs, LevelGroups
from model_zoo.heads.stacked_tiles import on_finest, score_of_stack
from pipeline.calibration import PooledCalibration
from pipeline.episodes import SupportSet, TensorLevels
from pipeline.evaluation import score_levels
from pipeline.learner import AnomalyHead, AnomalyOutput

_MEASURED = 32  # good images that give the scales: of 512 px they have 131,000 patches a level
_CHUNK = 16  # images of a support matched at once: the patch-by-row matrix is what fills memory


class MemoryBankHead(AnomalyHead):
    """Nearest-neighbour distances alone: their mean over the groups, each scaled by its LOO median, as a log.

    Of a backbone with maps and a transformer's tokens, the two logs' mean, that of the tokens in units of the other's
    spread over good cells: distances of tokens vary far less, and in a mean of distances they would be drowned.

    Args:
        banks: a level each.
        scale: (G, 1, 1) of the groups.
        k: good images.
        grid: the finest, of a tile where images are seen as tiles.
        kinds: the numbers of the groups that are maps, and of those that are tokens; of one kind alone: ().
    """

    scale: Tensor
    token_unit: Tensor

    def __init__(
        self,
        banks: nn.ModuleList,
        scale: Tensor,
        *,
        k: int,
        grid: tuple[int, int],
        kinds: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        super().__init__()
        self.k = k
        self.grid = grid
        self.banks = banks
        self.kinds = kinds
        self.register_buffer("scale", scale)
        if kinds:
            self.register_buffer("token_unit", torch.ones(()))
        self.bank_sources = banks[-1].sources  # type: ignore[assignment]

    @classmethod
    def of_support(
        cls,
        support: SupportSet,
        groups: LevelGroups,
        *,
        budget: int,
        seed: int,
        at_border: float = AT_BORDER,
        tokens: Collection[int] = (),
    ) -> MemoryBankHead:
        """Banks of at most `budget` rows a level from a support; see `with_matches`."""
        return cls.with_matches(support, groups, budget=budget, seed=seed, at_border=at_border, tokens=tokens)[0]

    @classmethod
    def with_matches(
        cls,
        support: SupportSet,
        groups: LevelGroups,
        *,
        budget: int,
        seed: int,
        chosen: Sequence[Tensor] | None = None,
        at_border: float = AT_BORDER,
        tokens: Collection[int] = (),
    ) -> tuple[MemoryBankHead, list[BankMatch]]:
        """`of_support`, and the leave-one-out matches that gave the scales: of its `measured_images`.

        `chosen` names each level's rows by their sources, and `tokens` the levels of tokens; see `build_banks`.
        """
        banks = nn.ModuleList(
            build_banks(support, groups, budget=budget, seed=seed, chosen=chosen, at_border=at_border, tokens=tokens)
        )
        H, W = support.tile_grid
        scale = torch.ones(sum(map(len, groups)), 1, 1)
        head = cls(banks, scale, k=support.k, grid=(H, W), kinds=_kinds(groups, tokens))
        with torch.no_grad():
            matches = head.match_good(support, measured_images(support.k))
            medians = [match.distances.transpose(0, 1).flatten(1).median(1).values for match in matches]
            head.scale = torch.cat(medians).reshape(-1, 1, 1)
            if head.kinds:
                maps, of_tokens = (logs.std() for logs in head._logs(matches))
                head.token_unit = maps / of_tokens.clamp_min(1e-6)
        return head, matches

    @classmethod
    def of_inputs(cls, inputs: InvariantInputs) -> MemoryBankHead:
        """The one inside the inputs of a learned head, whose `log_base` is its anomaly map."""
        return cls(inputs.banks, inputs.scale, k=inputs.k, grid=inputs.grid)

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        """Score a batch of feature levels."""
        return self._output(self.match(levels))

    @torch.no_grad()
    def leave_one_out(self, support: SupportSet) -> AnomalyOutput:
        """The K good images, each scored against the others."""
        return self._output(self.match_good(support, torch.arange(self.k)))

    @torch.no_grad()
    def leave_one_defect_out(self, support: SupportSet) -> Tensor:
        """The M defective images; it knows none of them."""
        return score_levels(self, support.defects).image_score

    def calibration_of(self, pooled: PooledCalibration) -> PooledCalibration:
        """Where a learned head fell back to this one, the memory bank's own."""
        return pooled.fallback or pooled

    def match(self, levels: TensorLevels, without: Tensor | None = None) -> list[BankMatch]:
        """Nearest neighbours a level, each image's without the rows of one good image.

        `without` (B,) int64 names the good images; None compares with all rows.
        """
        return [
            bank(level, None if without is None else self._rows_of(sources, without))
            for bank, sources, level in zip(self.banks, self._sources(), levels, strict=True)
        ]

    def match_good(self, support: SupportSet, images: Tensor) -> list[BankMatch]:
        """Nearest neighbours of some good images a level, each without its own rows; a few images at a time."""
        chunks = images.split(max(1, _CHUNK // support.tiles))
        parts = [self.match(tuple(level[few] for level in support.good), few) for few in chunks]
        if len(parts) == 1:
            return parts[0]  # a copy of it would be laid out in another way, and sums over it rounded in another
        return [
            BankMatch(*(torch.cat([getattr(match, field.name) for match in of_level]) for field in fields(BankMatch)))
            for of_level in zip(*parts, strict=True)
        ]

    def sources_without(self, images: Sequence[int]) -> list[Tensor]:
        """Per level, the sources (n, 4) of all rows but those of some good images; the others are numbered anew."""
        others = torch.ones(1 + max(int(sources[:, 0].max()) for sources in self._sources()), dtype=torch.bool)
        others[list(images)] = False
        numbers = others.cumsum(0) - 1
        kept = [sources[others[sources[:, 0]]] for sources in self._sources()]
        return [torch.cat([numbers[sources[:, :1]], sources[:, 1:]], 1) for sources in kept]

    def anomaly_map(self, matches: list[BankMatch]) -> Tensor:
        """The log of the groups' mean distance in units of their LOO medians (B, H, W); see the class."""
        logs = self._logs(matches)
        return (logs[0] + logs[1] * self.token_unit) / 2 if self.kinds else logs[0]

    def image_score(self, anomaly_map: Tensor) -> Tensor:
        """Image scores (B,) of its maps (B, H, W), or of stacks of them."""
        return score_of_stack(anomaly_map, self.grid)

    def _logs(self, matches: list[BankMatch]) -> list[Tensor]:
        """The log mean distance of each kind of groups (B, H, W), or of all."""
        tiles = matches[0].distances.shape[-2] // self.grid[0]
        fine = [on_finest(match.distances, self.grid, tiles) for match in matches]
        scaled = torch.cat(fine, 1) / self.scale
        return [(scaled[:, list(numbers)] if numbers else scaled).mean(1).log() for numbers in self.kinds or ((),)]

    def _rows_of(self, sources: Tensor, images: Tensor) -> Tensor:
        """The bank rows of each good image (B, N) bool; of a single one its plain rows, the augmented stand in."""
        own = sources[:, 0][None] == images[:, None]
        return own & (sources[:, 1] == -1)[None] if self.k == 1 else own

    def _sources(self) -> list[Tensor]:
        return [bank.sources for bank in self.banks if isinstance(bank, MemoryBank)]

    def _output(self, matches: list[BankMatch]) -> AnomalyOutput:
        anomaly_map = self.anomaly_map(matches)
        return AnomalyOutput(self.image_score(anomaly_map), anomaly_map, nearest_rows(matches))


def _kinds(groups: LevelGroups, tokens: Collection[int]) -> tuple[tuple[int, ...], ...]:
    """The numbers of the groups on levels of maps and on those of tokens; () where one kind is missing."""
    levels = [level for level, ranges in enumerate(groups) for _ in ranges]
    maps = tuple(number for number, level in enumerate(levels) if level not in tokens)
    of_tokens = tuple(number for number, level in enumerate(levels) if level in tokens)
    return (maps, of_tokens) if maps and of_tokens else ()


def measured_images(k: int) -> Tensor:
    """Which of K good images give the scales, at most 32 and evenly (n,) int64."""
    return torch.arange(0, k, -(-k // _MEASURED))


def nearest_rows(matches: list[BankMatch]) -> Tensor:
    """The matched rows of the coarsest bank's deepest group (B, h, w) int64."""
    return matches[-1].rows[:, -1].reshape(-1, *matches[-1].distances.shape[-2:])
