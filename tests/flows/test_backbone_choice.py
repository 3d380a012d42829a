"""Any backbone goes the whole way by its name: adapt, export, score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from deploy.bundles.registry import Registry
from deploy.engine.extractor import OrtExtractor
from model_zoo.backbones.backbone import build_backbone
from tests.flows.command import Command, sentence
from tests.parts.backbones import operators

VIT, VIT_SIZE = "vit_tiny_patch16_224", 80  # not the size of its weights, and a grid of odd sides
DINO, DINO_SIZE = "vit_small_patch14_reg4_dinov2", 84  # with a class and four register tokens


def put_weights(home: Path, name: str) -> None:
    """Random weights of the whole network, at the size timm builds it for, where users put theirs."""
    torch.manual_seed(3)
    (home / "weights").mkdir(parents=True)
    save_file(timm.create_model(name, pretrained=False).state_dict(), home / "weights" / f"{name}.safetensors")


@pytest.mark.slow
def test_a_transformer_goes_the_whole_way_by_its_name(
    home: Path, line: Path, linewise: Command, tmp_path: Path
) -> None:
    put_weights(home, DINO)
    options = ("--backbone", DINO, "--size", str(DINO_SIZE), "--good", "3", "--defects", "2")
    code, _, error = linewise("adapt", "part", line, "--learner", "memory_bank", *options)
    assert code == 0, sentence(error)
    manifest = Registry(home).live("part").manifest
    assert manifest.backbone.name == DINO
    assert manifest.spec.height == DINO_SIZE
    assert manifest.spec.weights_source == f"file {DINO}.safetensors"
    scores = tmp_path / "scores.json"
    code, _, error = linewise("score", "part", line / "test", "--device", "cpu", "--json", scores)
    assert code == 0, sentence(error)
    assert json.loads(scores.read_text())["images"] == 10

    artefact = Registry(home).deployment("part").backbone
    assert not set(operators(artefact.onnx_path)) & {"Shape", "Expand", "If", "Loop"}
    noise = np.random.default_rng(0).integers(0, 256, (3, DINO_SIZE, DINO_SIZE, 3), dtype=np.uint8)
    (got,) = OrtExtractor(artefact).run(noise)  # one batch, as on an accelerator
    built = build_backbone(DINO, size=DINO_SIZE, weights=home / "weights" / f"{DINO}.safetensors")
    with torch.inference_mode():
        np.testing.assert_allclose(got.numpy(), built(torch.from_numpy(noise))[0].numpy(), rtol=1e-3, atol=1e-3)


BOTH = f"tf_efficientnet_lite0+{VIT}"


@pytest.mark.slow
def test_two_networks_go_the_whole_way_as_one_backbone(
    home: Path, line: Path, linewise: Command, tmp_path: Path
) -> None:
    put_weights(home, VIT)
    options = ("--backbone", BOTH, "--size", "96", "--good", "3", "--defects", "2")
    code, _, error = linewise("adapt", "part", line, "--learner", "memory_bank", *options)  # which does not choose
    assert code == 0, sentence(error)
    spec = Registry(home).live("part").manifest.spec
    assert spec.name == BOTH
    assert [group.is_tokens for group in spec.groups] == [False, False, True, True]
    assert "; " in spec.weights_source
    scores = tmp_path / "scores.json"
    code, _, error = linewise("score", "part", line / "test", "--device", "cpu", "--json", scores)
    assert code == 0, sentence(error)
    assert json.loads(scores.read_text())["images"] == 10


@pytest.mark.slow
def test_auto_takes_both_networks_or_the_first_alone(home: Path, line: Path, linewise: Command) -> None:
    put_weights(home, VIT)
    code, _, error = linewise("adapt", "part", line, "--backbone", BOTH, "--size", "96", "--good", "3")
    assert code == 0, sentence(error)
    manifest = Registry(home).live("part").manifest
    (choice,) = manifest.choices
    assert (choice.what, list(choice.evidence)) == ("backbone", [BOTH, "tf_efficientnet_lite0"])
    assert manifest.spec.name == choice.chosen


def test_a_backbone_without_weights_says_where_to_put_them(line: Path, linewise: Command) -> None:
    code, _, error = linewise("adapt", "part", line, "--backbone", VIT, "--size", str(VIT_SIZE))
    assert code == 2
    assert sentence(error) == (
        f"linewise: expected weights for {VIT}, got none: "
        f"put its state dict as weights/{VIT}.safetensors or .pth into the home folder (LINEWISE_HOME)\n"
    )


def test_a_size_that_the_patch_does_not_divide_is_one_sentence(home: Path, line: Path, linewise: Command) -> None:
    put_weights(home, VIT)
    code, _, error = linewise("adapt", "part", line, "--backbone", VIT, "--size", "100")
    assert code == 2
    assert sentence(error) == (
        f"linewise: expected an image size that is a multiple of 16, at least 64, for {VIT}, got 100: choose 96\n"
    )
