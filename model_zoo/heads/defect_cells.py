"""Which cells of a defective image show the defect."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.episodes import SupportSet


def defective_cells(support: SupportSet, image: int, suspicion_hw: Tensor) -> Tensor:
    """Cells of a defect on a level's grid that show it, at least one (n,) int64.

    Those inside its mask; of a defect that is known by its label only, its most anomalous 2 %: the multiple-instance
    view of a weakly labelled image.

    Args:
        support: with the defect.
        image: which one.
        suspicion_hw: its anomaly on that grid.
    """
    if support.has_mask[image]:
        fractions = support.defect_masks[image][None, None]
        share = F.adaptive_avg_pool2d(fractions, (suspicion_hw.shape[0], suspicion_hw.shape[1])).flatten()
        return (share >= min(0.3, 0.7 * float(share.max()))).nonzero()[:, 0]
    flat = suspicion_hw.flatten()
    return (flat >= flat.quantile(0.98)).nonzero()[:, 0]
