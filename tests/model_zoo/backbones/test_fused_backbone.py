"""Several networks as one backbone: the levels of each, on the images it would see alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deploy.exporting.torch_to_onnx import export_backbone
from model_zoo.backbones.backbone import build_backbone
from model_zoo.backbones.channel_std import generated_images
from model_zoo.backbones.fused_backbone import FusedBackbone, build_fused
from pipeline.errors import ConfigError
from pipeline.input_size import InputSize

CNN, VIT = "resnet18", "vit_tiny_patch16_224"
DINO = "vit_small_patch14_dinov2"


def random(_: str) -> str:
    return "random"


@torch.inference_mode()
def test_each_network_sees_its_own_size_and_gives_its_own_levels() -> None:
    fused = build_fused(f"{CNN}+{DINO}", size=128, weights_of=random)
    images = generated_images(2, 128)
    of_cnn = build_backbone(CNN, size=128, weights="random")(torch.from_numpy(images))
    small = np.stack(
        [cv2.resize(image.astype(np.float32), (112, 112), interpolation=cv2.INTER_AREA) for image in images]
    )
    of_vit = build_backbone(DINO, size=112, weights="random")(torch.from_numpy(small))
    levels = fused(torch.from_numpy(images))
    for got, expected in zip(levels, (*of_cnn, *of_vit), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    assert [(level.stride, level.height) for level in fused.spec.levels] == [(8, 16), (16, 8), (16, 8)]
    assert [(group.name, group.level, group.is_tokens) for group in fused.spec.groups] == [
        (f"{CNN}.layer2", 0, False),
        (f"{CNN}.layer3", 1, False),
        (f"{DINO}.blocks.5.tokens", 2, True),
        (f"{DINO}.blocks.7.tokens", 2, True),
    ]


@pytest.mark.parametrize(("size", "own"), [(256, 224), (384, 336), (512, 224), (320, 280)])
def test_a_transformers_grid_lies_on_that_of_the_other(size: int, own: int) -> None:
    fused = build_fused(f"{CNN}+{DINO}", size=size, weights_of=random)
    assert [one.height for one in fused.sizes] == [size, own]
    *_, coarsest, tokens = fused.spec.levels
    assert coarsest.height % tokens.height == 0
    assert tokens.height <= 24


@torch.inference_mode()
def test_an_oblong_is_seen_by_each_network_at_its_own_size(tmp_path: Path) -> None:
    fused = build_fused(f"{CNN}+{DINO}", size=InputSize(96, 160), weights_of=random)
    assert fused.sizes == ((96, 160), (84, 140))
    assert [(level.height, level.width) for level in fused.spec.levels] == [(12, 20), (6, 10), (6, 10)]
    export_backbone(fused, fused.spec, tmp_path / "backbone")  # refuses where the graph computes something else
    image = generated_images(1, 160)[:, :96]
    small = cv2.resize(image[0].astype(np.float32), (140, 84), interpolation=cv2.INTER_AREA)
    of_vit = build_backbone(DINO, size=InputSize(84, 140), weights="random")(torch.from_numpy(small[None]))
    torch.testing.assert_close(fused(torch.from_numpy(image))[2], of_vit[0], rtol=1e-3, atol=1e-3)


def test_the_exported_graph_computes_the_same(tmp_path: Path) -> None:
    fused = build_fused(f"{CNN}+{VIT}", size=64, weights_of=random)
    artefact = export_backbone(fused, fused.spec, tmp_path / "backbone")  # refuses where it does not
    assert artefact.spec == fused.spec


def test_other_weights_of_one_network_are_another_backbone() -> None:
    first, second = (
        FusedBackbone([build_backbone(CNN, size=64, weights="random", seed=seed)] * 2, InputSize.of(64)).spec
        for seed in (0, 1)
    )
    assert first.fingerprint != second.fingerprint
    assert first.weights_sha256 != second.weights_sha256


@pytest.mark.parametrize("name", [f"{CNN}+{CNN}", f"{CNN}+", f"+{VIT}"])
def test_networks_are_named_once_each(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected different networks, joined by \+"):
        build_fused(name, size=64, weights_of=random)
