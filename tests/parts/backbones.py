"""What the tests of backbones, export and runtime share: a real backbone, its export, and a small realistic head."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from deploy.exporting.torch_to_onnx import export_backbone
from model_zoo.backbones.backbone import Backbone, build_backbone
from model_zoo.backbones.channel_std import generated_images
from pipeline.features import BackboneArtefact
from pipeline.learner import AnomalyHead, AnomalyOutput

SIZE = 128  # a quarter of the pixels of the default: the same graph, four times as fast
NAMES = ["level_0", "level_1"]
GROUPS = ((0, 0, 24), (0, 24, 40), (1, 0, 80), (1, 80, 112))


@cache
def backbone() -> Backbone:
    """The default backbone with its real weights."""
    return build_backbone(size=SIZE)


@cache
def artefact() -> BackboneArtefact:
    """Its export, one for all processes of a run. Copy the folder before you damage it."""
    built, shared = backbone(), Path(os.environ["LINEWISE_TEMPLATE_CACHE"])
    return export_backbone(built, built.spec, shared / f"backbone-{built.spec.fingerprint}")


@cache
def images(count: int = 4) -> NDArray[np.uint8]:
    """Generated product images at the test size."""
    return generated_images(count, SIZE)


@cache
def levels(count: int = 4) -> tuple[Tensor, ...]:
    """Torch features of `images(count)`."""
    with torch.inference_mode():
        return backbone()(torch.from_numpy(images(count)))


class SmallHead(AnomalyHead):
    """Nearest neighbours per group, a gathered residual and a convolutional trunk: all the operators a head uses."""

    def __init__(self, *, seed: int = 0, rows: int = 60, base_weight: float = 0.5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        picked = []
        for level in levels():
            flat = level.permute(0, 2, 3, 1).flatten(0, 2)
            picked.append(flat[torch.randperm(len(flat), generator=generator)[:rows]].clone())
        self.register_buffer("bank_0", picked[0])
        for i, (level, start, stop) in enumerate(GROUPS):
            bank = picked[level][:, start:stop].contiguous()
            self.register_buffer(f"group_{i}", bank)
            self.register_buffer(f"squares_{i}", bank.square().sum(1))
        self.register_buffer("scale", torch.rand(len(GROUPS), generator=generator) + 1)
        self.register_buffer("bank_sources", torch.zeros(rows, 4, dtype=torch.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = len(GROUPS) + levels()[0].shape[1]
            self.trunk = nn.Sequential(nn.Conv2d(channels, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
        self.base_weight = base_weight
        self.eval().requires_grad_(False)

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        height, width = levels[0].shape[2:]
        maps = []
        nearest = levels[0]
        for i, (level, start, stop) in enumerate(GROUPS):
            x = levels[level][:, start:stop]
            h, w = x.shape[2:]
            query = x.permute(0, 2, 3, 1).reshape(-1, stop - start)
            bank = self.get_buffer(f"group_{i}")
            distance = torch.addmm(self.get_buffer(f"squares_{i}")[None], query, bank.t(), alpha=-2)
            index = distance.argmin(1)
            closest = distance.gather(1, index[:, None])[:, 0] + query.square().sum(1)
            score = torch.log((closest.clamp_min(1e-2) / (stop - start)).sqrt() / self.get_buffer("scale")[i])
            score = score.reshape(-1, 1, h, w)
            if h != height:
                score = F.interpolate(score, size=(height, width), mode="bilinear", align_corners=False)
                nearest = index.reshape(-1, h, w)
            maps.append(score)
        query = levels[0].permute(0, 2, 3, 1).flatten(0, 2)
        bank = self.get_buffer("bank_0")
        index = torch.addmm(bank.square().sum(1)[None], query, bank.t(), alpha=-2).argmin(1)
        residual = (query - bank[index]).abs().reshape(-1, height, width, query.shape[1]).permute(0, 3, 1, 2)
        maps[0] = maps[0] - torch.ones_like(maps[0]) * self.get_buffer("scale")[0]
        logits = self.trunk(torch.cat([*maps, torch.log1p(residual)], 1))[:, 0]
        anomaly_map = self.base_weight * torch.cat(maps, 1).mean(1) + logits
        return AnomalyOutput(anomaly_map.flatten(1).topk(3, dim=1).values.mean(1), anomaly_map, nearest)


def operators(path: Path) -> list[str]:
    """What a graph computes with, node by node."""
    return [node.op_type for node in onnx.load(path).graph.node]
