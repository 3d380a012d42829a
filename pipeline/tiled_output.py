"""What a head says of images that it sees as tiles, over the images."""

from __future__ import annotations

import torch

from pipeline.learner import AnomalyOutput
from pipeline.tile_grid import TileGrid


def over_images(output: AnomalyOutput, tiles: TileGrid | None) -> AnomalyOutput:
    """A head's output with maps that lie over the images, as the engine gives them.

    Args:
        output: whose maps are stacks of their tiles' (B, T * H, W), and matched rows likewise.
        tiles: of the images; None: they are seen whole, and the output stays as it is.
    """
    if tiles is None:
        return output
    maps = [torch.from_numpy(tiles.largest(tiles.unstacked(stack))) for stack in output.anomaly_map.numpy()]
    rows = [torch.from_numpy(tiles.innermost(tiles.unstacked(stack))) for stack in output.nearest.numpy()]
    return AnomalyOutput(output.image_score, torch.stack(maps), torch.stack(rows))
