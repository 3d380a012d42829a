"""The trunk of any timm network that gives feature maps, cut by timm's own `features_only`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn

from model_zoo.backbones.backbone_table import BACKBONES
from model_zoo.backbones.backbone_weights import chosen_state, last_line, needs_file
from model_zoo.backbones.trunks import COARSE_STRIDE, FINE_STRIDE, Trunk
from pipeline.errors import ConfigError
from pipeline.features import TOKENS
from pipeline.input_size import InputSize


class ChannelsFirst(nn.Module):
    """Turns the (B, h, w, C) maps of a network that thinks channels-last into (B, C, h, w)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The network's maps, channels first."""
        return [features.permute(0, 3, 1, 2) for features in self.network(images_BCHW)]


class UnitTokens(nn.Module):
    """Brings each token of a network's maps (B, C, h, w) to a mean square of one.

    A transformer's tokens differ by their angles, their lengths say little; and each has seen the whole image, so that
    an average with its neighbours only blurs it (`benchmarks/vit.md`).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """The network's maps, every token of one length."""
        return [tokens / _root_mean_square(tokens) for tokens in self.network(images_BCHW)]


def _root_mean_square(tokens_BChw: Tensor) -> Tensor:
    """Of each token's channels (B, 1, h, w); written so that the exported graph has no shapes to compute."""
    return tokens_BChw.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)


def timm_trunk(name: str, size: InputSize, weights: Path | str | None) -> Trunk:
    """The network that timm knows by `name`, for images of that size.

    Raises:
        ConfigError: unknown name (with close matches), no feature maps at this size or of a usable stride, missing or
            unfitting weights.
    """
    config = _known(name)
    if weights is None:
        raise needs_file(name)
    state, source = chosen_state(weights, name, dict)
    sized: dict[str, Any] = (
        {"img_size": tuple(size)} if config.fixed_input_size else {}
    )  # transformers build their grid for one size
    try:
        probe: Any = timm.create_model(name, pretrained=False, features_only=True, **sized)
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            expected=f"a timm model that gives feature maps at {size.height} × {size.width}",
            got=f"{name} ({last_line(error)})",
            remedy="choose another backbone or size",
        ) from error
    strides = [int(info["reduction"]) for info in probe.feature_info.info]
    indices = _tap_indices(strides, name)
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
                got=f"tensors that do not fit it ({last_line(error)})",
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
    module = ChannelsFirst(model) if str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC") else model
    names, tokens = model.feature_info.module_name(), _is_column(strides)
    return Trunk(
        module=UnitTokens(module) if tokens else module,
        taps=tuple(
            (f"{tap}{TOKENS}" if tokens else tap, int(stride))
            for tap, stride in zip(names, model.feature_info.reduction(), strict=True)
        ),
        mean=_rgb(config.mean),
        std=_rgb(config.std),
        source=f"timm {name}.{config.tag}" if source == "hub" else source,
        licence=str(config.license or "unknown") if source == "hub" else "of the given weights",
        tokens=tokens,
    )


def token_stride(name: str) -> int | None:
    """The stride of all maps of a network that keeps one, a vision transformer's patch; None: its maps shrink.

    Raises:
        ConfigError: unknown name.
    """
    _known(name)
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False, features_only=True)
    strides = [int(info["reduction"]) for info in network.feature_info.info]
    return strides[0] if _is_column(strides) else None


def _is_column(strides: Sequence[int]) -> bool:
    return len(set(strides)) == 1


def _known(name: str) -> PretrainedCfg:
    names = timm.list_models()
    if name not in names:
        close = difflib.get_close_matches(name, sorted({*BACKBONES, *names}), n=3)
        raise ConfigError(
            expected=f"a backbone of {', '.join(BACKBONES)} or a timm model",
            got=repr(name),
            remedy=f"did you mean {' or '.join(close)}?" if close else "see timm.list_models() for more",
        )
    config = get_pretrained_cfg(name)
    assert config is not None, "it is listed"
    return config


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _tap_indices(strides: list[int], name: str) -> list[int]:
    """Which feature maps to keep: strides 8 and 16; of a one-stride network those after a half and two thirds of it."""
    if _is_column(strides):
        return sorted({max(0, len(strides) // 2 - 1), max(0, len(strides) * 2 // 3 - 1)})
    indices = [i for i, stride in enumerate(strides) if stride in (FINE_STRIDE, COARSE_STRIDE)]
    if not indices:
        raise ConfigError(
            expected="a network with feature maps of stride 8 or 16",
            got=f"{name} with strides {strides}",
            remedy="choose another backbone",
        )
    return indices
