"""Images that are seen as tiles: their levels and maps stand below one another, so that all learn by the image.

A support of tiles (`SupportSet.tiles`) has for each image one level (C, T * h, w), its T tiles stacked. Whatever looks
at patches, and leaves out images, needs to know nothing of it. What looks at a map's borders and neighbours does so
tile by tile, as the exported head will. Of whole images T is 1, and everything is left as it is.

Shape letters: B images, T tiles, C channels, h x w a tile's grid, H x W its finest.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from model_zoo.heads.task_head import image_score


def each_tile(stack: Tensor, tiles: int) -> Tensor:
    """(B, ..., T * h, w) to (B * T, ..., h, w)."""
    if tiles == 1:
        return stack
    return stack.unflatten(-2, (tiles, -1)).movedim(-3, 1).flatten(0, 1)


def stacked(each: Tensor, tiles: int) -> Tensor:
    """The inverse of `each_tile`."""
    if tiles == 1:
        return each
    return each.unflatten(0, (-1, tiles)).movedim(1, -3).flatten(-3, -2)


def on_finest(maps: Tensor, grid: tuple[int, int], tiles: int) -> Tensor:
    """Maps (B, G, T * h, w) brought to the finest grid of a tile (H, W), as a stack."""
    each = each_tile(maps, tiles)
    if tuple(each.shape[-2:]) == grid:
        return maps
    return stacked(F.interpolate(each, grid, mode="bilinear", align_corners=False), tiles)


def score_of_stack(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Image scores (B,) of maps (B, T * H, W): the largest of an image's tiles."""
    tiles = maps.shape[-2] // grid[0]
    scores = image_score(each_tile(maps, tiles))
    return scores if tiles == 1 else scores.unflatten(0, (-1, tiles)).amax(1)
