"""How well a way of scoring tells the support's defects from its good images: what choices for a line are made by.

Good images are scored leave-one-out, synthetic defects without the image they were painted on, so that no score is
flattered by its own patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_zoo.heads.task_head import DEFECTIVE_SHARE

_PRIOR_VARIANCE = 0.1  # in log distance, squared
_PRIOR_COUNT = 4
_RATE_LIMIT = 0.3  # as in AUPRO


def separation(defective: Tensor, good: Tensor) -> float:
    """d', the distance of the mean scores in units of their spread.

    The pooled variance is shrunk towards a fixed one that counts as four scores: of four good images and one defect
    nobody knows the spread.

    Args:
        defective: (N,) image scores of defective images, N of at least 1.
        good: (K,) of good ones.
    """
    assert len(defective)
    assert len(good)
    squares = sum(((scores - scores.mean()).square().sum() for scores in (defective, good)), torch.zeros(()))
    count = len(defective) + len(good) - 2 + _PRIOR_COUNT
    variance = (squares + _PRIOR_COUNT * _PRIOR_VARIANCE) / count
    return float((defective.mean() - good.mean()) / variance.sqrt())


def overlaps(maps_NHW: Tensor, fractions_NHW: Tensor, good_maps_KHW: Tensor) -> Tensor:
    """Each image's AUPRO at 0.3, its false-positive rate taken over the good images' cells (N,), 0..1.

    Args:
        maps_NHW: anomaly maps of defective images.
        fractions_NHW: the defective share of each cell.
        good_maps_KHW: anomaly maps of good images.

    Returns:
        nan for an image without a cell that is a quarter defective.
    """
    good = good_maps_KHW.flatten().sort().values
    found = torch.full((len(maps_NHW),), torch.nan)
    for index, (anomaly_map, fractions) in enumerate(zip(maps_NHW, fractions_NHW, strict=True)):
        inside = anomaly_map[fractions > DEFECTIVE_SHARE]
        if len(inside):
            higher = 1 - torch.searchsorted(good, inside) / len(good)
            found[index] = (1 - higher / _RATE_LIMIT).clamp_min(0).mean()
    return found


def ranks(defective_N: Tensor, good_K: Tensor) -> Tensor:
    """Which pairs of a defective and a good image are ranked rightly (N, K): 1, 0, or 0.5 for equal scores.

    Their mean is the image AUROC. Unlike d' it does not depend on the unit of the scores.
    """
    defective, good = defective_N[:, None], good_K[None]
    return (defective > good).float() + 0.5 * (defective == good).float()
