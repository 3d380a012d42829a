"""Vision transformers as backbones: patch tokens of two blocks, on the grid of the input size, in torch and in ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from model_zoo.backbones.backbone import build_backbone
from model_zoo.backbones.channel_std import generated_images
from pipeline.errors import ConfigError

CLASS = "vit_tiny_patch16_224"


@pytest.mark.parametrize(("name", "size", "patch"), [(CLASS, 80, 16), ("vit_small_patch14_dinov2", 84, 14)])
@torch.inference_mode()
def test_levels_are_the_patch_tokens_of_two_blocks(name: str, size: int, patch: int, tmp_path: Path) -> None:
    torch.manual_seed(8)
    network = timm.create_model(name, pretrained=False).eval()  # at the size of its weights
    network.pos_embed.normal_()  # timm's start is so small that another interpolation would not be seen
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    built = build_backbone(name, size=size, weights=tmp_path / "weights.safetensors")
    grid, channels = size // patch, network.embed_dim
    assert [(level.stride, level.channels, level.height) for level in built.spec.levels] == [
        (patch, 2 * channels, grid)
    ]
    assert [(group.name, group.start, group.stop) for group in built.spec.groups] == [
        ("blocks.5.tokens", 0, channels),
        ("blocks.7.tokens", channels, 2 * channels),
    ]
    x = torch.from_numpy(generated_images(2, size))
    mean, std = torch.tensor(built.spec.mean).view(1, 3, 1, 1), torch.tensor(built.spec.std).view(1, 3, 1, 1)
    tokens = network.patch_embed.proj((x.permute(0, 3, 1, 2) / 255 - mean) / std).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.cls_token.expand(2, -1, -1), tokens], 1)
    tokens = tokens + resample_abs_pos_embed(network.pos_embed, new_size=[grid, grid], num_prefix_tokens=1)
    maps = []
    for index, block in enumerate(network.blocks):
        tokens = block(tokens)
        if index in (5, 7):
            maps.append(tokens[:, 1:].transpose(1, 2).unflatten(2, (grid, grid)))
    expected = torch.cat([tokens / tokens.square().mean(1, keepdim=True).sqrt() for tokens in maps], 1)
    torch.testing.assert_close(built(x)[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("size", "nearest"), [(256, 252), (50, 56)])
def test_sizes_that_the_patch_does_not_divide_are_refused(size: int, nearest: int) -> None:
    with pytest.raises(ConfigError, match=f"multiple of 14, at least 56, .*, got {size}: choose {nearest}"):
        build_backbone("vit_small_patch14_dinov2", size=size, weights="random")
