"""The kinds of a line's defects, learned from those that its folders or people's verdicts name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flows.views import View
from model_zoo.heads.invariant_inputs import level_groups, token_levels
from model_zoo.heads.whitening import Whitening
from pipeline.episodes import SupportSet
from pipeline.evaluation import score_levels
from pipeline.features import BackboneSpec
from pipeline.kinds import LearnedKinds, Units, Values, learn_kinds, marked_cells
from pipeline.learner import AnomalyHead
from pipeline.product_lines.layout_names import DEFECT
from pipeline.product_lines.lines import ImageRecord
from pipeline.tile_grid import TileGrid


def line_kinds(view: View, head: AnomalyHead, pixel_threshold: float) -> LearnedKinds | None:
    """The kinds that the view's defects have, as the head's maps show them; None: fewer than two are named."""
    return kinds_of_support(view.support, view.defects, view.backbone.spec, head, pixel_threshold, view.tiles)


def kinds_of_support(
    support: SupportSet,
    defects: Sequence[ImageRecord],
    spec: BackboneSpec,
    head: AnomalyHead,
    pixel_threshold: float,
    tiles: TileGrid | None = None,
) -> LearnedKinds | None:
    """The same from a support set, whose defects are these images, seen as those tiles."""
    named = [index for index, record in enumerate(defects) if record.kind != DEFECT]  # who has no name is of no kind
    if len({defects[index].kind for index in named}) < 2:
        return None
    units = line_units(support, spec)
    maps = score_levels(head, support.defects).anomaly_map.numpy()
    if tiles is not None:
        maps = np.stack(
            [tiles.stacked(tiles.largest(tiles.unstacked(stack))) for stack in maps]
        )  # as the line has them
    drawn, mapped = list[Values](), list[Values]()
    for index in named:
        levels = [level[index].numpy() for level in support.defects]
        mask = support.defect_masks[index].numpy()
        mapped.append(units.describe(levels, marked_cells(maps[index], pixel_threshold)))
        drawn.append(units.describe(levels, mask) if support.has_mask[index] and mask.any() else mapped[-1])
    return learn_kinds([defects[index].kind for index in named], units, np.stack(drawn), np.stack(mapped))


def line_units(support: SupportSet, spec: BackboneSpec) -> Units:
    """What the good images say of features: their mean, and what whitens them."""
    whitening = Whitening(support, level_groups(spec), token_levels(spec))
    matrices = (getattr(whitening, f"matrix_{index}", None) for index in range(len(support.good)))
    return Units(
        tuple(level.mean((0, 2, 3)).numpy() for level in support.good),
        tuple(None if matrix is None else matrix[:, :, 0, 0].numpy() for matrix in matrices),
    )
