"""Several networks as one backbone, `tf_efficientnet_lite0+vit_small_patch14_dinov2`: one graph, the levels of all.

A convolutional network sees fine tracks and small parts, a vision transformer textures and cells; a head that has the
levels of both need not know which it will need (`benchmarks/vit.md`). Each network has its own normalisation and its
own input size, made from the common one inside the graph. A transformer gets as many patches a side as the coarsest
other map has cells, or a whole fraction of them, so that the grids of all levels lie on one another.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from model_zoo.backbones.backbone import Backbone, build_backbone, fingerprint_of
from model_zoo.backbones.backbone_table import BACKBONES
from model_zoo.backbones.timm_trunks import token_stride
from model_zoo.backbones.trunks import COARSE_STRIDE
from pipeline.errors import ConfigError
from pipeline.features import FUSED, BackboneSpec, FeatureGroup, FeatureLevel
from pipeline.input_size import InputSize

_MOST_CELLS = 24  # a side, of a transformer: its attention grows with their fourth power


class FusedBackbone(nn.Module):
    """uint8 images in, the levels of several backbones out, the finest first.

    Args:
        parts: the backbones, each for its own input size.
        size: of the images.
    """

    def __init__(self, parts: Sequence[Backbone], size: InputSize) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.sizes = tuple(part.spec.size for part in parts)
        self.size = size
        for index, own in enumerate(self.sizes):
            if own != size:
                self.register_buffer(f"resampling_{index}", _area_weights(size.height, own.height))
                if not size.is_square:
                    self.register_buffer(f"resampling_across_{index}", _area_weights(size.width, own.width))
        strides = [
            (size.height // level.height, index, number)
            for index, part in enumerate(parts)
            for number, level in enumerate(part.spec.levels)
        ]
        self.order = tuple((index, number) for _, index, number in sorted(strides))
        self.spec = self._described([part.spec for part in parts])
        self.eval().requires_grad_(False)

    def forward(self, images_BHWC: Tensor) -> tuple[Tensor, ...]:
        """Features of uint8 RGB images (B, H, W, 3): one float32 (B, C, h, w) map a level, finest first."""
        pixels = images_BHWC.permute(0, 3, 1, 2).to(torch.float32)
        levels: list[tuple[Tensor, ...]] = []
        for index, part in enumerate(self.parts):
            seen = pixels
            if self.sizes[index] != self.size:
                down = self.get_buffer(f"resampling_{index}")
                across = down if self.size.is_square else self.get_buffer(f"resampling_across_{index}")
                seen = down @ pixels @ across.t()
            assert isinstance(part, Backbone)
            levels.append(part.features(seen))
        return tuple(levels[index][number] for index, number in self.order)

    def _described(self, specs: Sequence[BackboneSpec]) -> BackboneSpec:
        levels: list[FeatureLevel] = []
        groups: list[FeatureGroup] = []
        for index, number in self.order:
            level, name = specs[index].levels[number], specs[index].name
            groups += [
                dataclasses.replace(group, name=f"{name}.{group.name}", level=len(levels))
                for group in specs[index].groups
                if group.level == number
            ]
            levels.append(dataclasses.replace(level, stride=self.size.height // level.height))
        spec = dataclasses.replace(
            specs[0],
            name=FUSED.join(spec.name for spec in specs),
            weights_sha256=hashlib.sha256("".join(spec.weights_sha256 for spec in specs).encode()).hexdigest(),
            weights_source=_listed([spec.weights_source for spec in specs]),
            weights_licence=_listed([spec.weights_licence for spec in specs]),
            height=self.size.height,
            width=self.size.width,
            levels=tuple(levels),
            groups=tuple(groups),
            fingerprint="",
        )
        return dataclasses.replace(spec, fingerprint=fingerprint_of(self, spec))


def build_fused(
    name: str, *, size: int | InputSize, weights_of: Callable[[str], Path | str | None], seed: int = 0
) -> FusedBackbone:
    """Build the networks of a name like `tf_efficientnet_lite0+vit_small_patch14_dinov2` and join them.

    Args:
        name: at least two backbones, see `build_backbone`.
        size: of the images in pixels, a square's side or height and width; that of each convolutional network.
        weights_of: the `weights` of each, by its name.
        seed: of "random" weights.

    Raises:
        ConfigError: as `build_backbone` says; a name twice or left out.
        StorageError: a weights file cannot be read.
    """
    size, names = InputSize.of(size), name.split(FUSED)
    if len({*names}) < len(names) or "" in names:
        raise ConfigError(
            expected=f"different networks, joined by {FUSED}",
            got=repr(name),
            remedy="name each once: tf_efficientnet_lite0+vit_small_patch14_dinov2",
        )
    return FusedBackbone(
        [build_backbone(part, size=_own_size(part, size), weights=weights_of(part), seed=seed) for part in names], size
    )


def _own_size(name: str, size: InputSize) -> InputSize:
    """The input size of one of the networks."""
    stride = None if name in BACKBONES else token_stride(name)
    if stride is None:
        return size
    rows, columns = (side // COARSE_STRIDE for side in size)
    whole = (n for n in range(1, min(rows, columns)) if rows % n == columns % n == 0)
    n = next((n for n in whole if rows * columns <= (n * _MOST_CELLS) ** 2), 1)
    return InputSize(stride * (rows // n), stride * (columns // n))


def _area_weights(of: int, to: int) -> Tensor:
    """The (to, of) matrix by which a side of `of` pixels becomes one of `to`, each the mean of what it covers."""
    edges = torch.arange(to + 1, dtype=torch.float64) * of / to
    pixels = torch.arange(of, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (covered.clamp_min(0) * to / of).float()


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
