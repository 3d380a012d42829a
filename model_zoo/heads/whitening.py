"""Whitening: feature channels in the units in which good parts vary.

Raw channels are correlated and of unequal spread; a distance between them is ruled by the few directions in which good
parts differ most, which are the ones that say least. Whitened, every direction counts by how unusual it is, and the
nearest neighbour is nearest in that sense (a local Mahalanobis distance). Measured on 13 real lines in
`benchmarks/auto.md`.

The matrix is symmetric: of all that whiten, the one that moves features least, so that a channel stays what the
backbone made of it and means the same on every line. Distances are those of any other.

Source: ZCA (Mahalanobis) whitening, Kessy et al., The American Statistician 2018, here with shrunk eigenvalues.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.heads.invariant_inputs import LevelGroups
from pipeline.episodes import SupportSet, TensorLevels

_SHRINKAGE = 0.1  # of the eigenvalues towards their mean
_FLOOR = 1e-4  # of the variance, for support images that are all alike


class Whitening(nn.Module):
    """Feature levels in, the same with each group of channels decorrelated and of equal variance; exportable.

    Fitted to the patches of the K good images and their augmentations, and to those of further ones, every view
    counting alike. No mean is taken off: only differences of features are used afterwards.

    Tokens stay as they are: hundreds of channels whose spread a handful of images does not tell, whitened they lose
    three points of image AUROC (`benchmarks/vit.md`).
    """

    def __init__(self, support: SupportSet, groups: LevelGroups, tokens: Collection[int] = ()) -> None:
        super().__init__()
        self.tokens = tuple(tokens)
        for index, (good, augmented, ranges) in enumerate(zip(support.good, support.augmented, groups, strict=True)):
            if index in self.tokens:
                continue
            channels, cells = good.shape[1], good.shape[2] * good.shape[3]
            patches = torch.cat([good, augmented.flatten(0, 1)]).transpose(0, 1).flatten(1)  # (C, n)
            weights = None
            if support.further is not None:
                sample = support.further.vectors[index]
                each = support.further.views * cells / len(sample)  # patches that one of the sample stands for
                weights = torch.cat([torch.ones(patches.shape[1]), torch.full((len(sample),), each)])
                patches = torch.cat([patches, sample.t()], 1)
            matrix = torch.zeros(channels, channels)
            for start, stop in ranges:
                matrix[start:stop, start:stop] = _whitening_matrix(patches[start:stop], weights)
            self.register_buffer(f"matrix_{index}", matrix[:, :, None, None])

    def forward(self, *levels: Tensor) -> TensorLevels:
        """Whiten a batch of feature levels (B, C, h, w)."""
        return tuple(
            level if index in self.tokens else F.conv2d(level, getattr(self, f"matrix_{index}"))
            for index, level in enumerate(levels)
        )

    @torch.no_grad()
    def of_support(self, support: SupportSet) -> SupportSet:
        """A support set seen through it; masks and parents are the same."""
        K, A = support.augmented[0].shape[:2]
        augmented = self(*(level.flatten(0, 1) for level in support.augmented))
        further = support.further
        if further is not None:
            seen = [
                vectors if index in self.tokens else vectors @ getattr(self, f"matrix_{index}")[:, :, 0, 0].t()
                for index, vectors in enumerate(further.vectors)
            ]
            further = replace(further, vectors=tuple(seen))
        return replace(
            support,
            good=self(*support.good),
            augmented=tuple(level.unflatten(0, (K, A)) for level in augmented),
            synthetic=self(*support.synthetic),
            defects=self(*support.defects),
            further=further,
        )


def _whitening_matrix(patches_Cn: Tensor, weights_n: Tensor | None) -> Tensor:
    """The symmetric (C, C) matrix whose product with a patch has (nearly) unit covariance over these patches.

    `weights_n`: of the patches; None: all alike.
    """
    values, vectors = torch.linalg.eigh(torch.cov(patches_Cn, aweights=weights_n))
    values = values.clamp_min(0)
    return (vectors * (values + _SHRINKAGE * values.mean() + _FLOOR).rsqrt()) @ vectors.t()
