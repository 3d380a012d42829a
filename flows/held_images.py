"""How many of a line's images a support holds in full: what their features take is bounded."""

from __future__ import annotations

from pipeline.features import BackboneSpec
from pipeline.patch_samples import HELD
from pipeline.tile_grid import MOST_TILES

HELD_BYTES = 160 * 1024**2
"""Features of the good images that are held in full: 128 at 512 px with the default backbone, fewer of larger ones."""
TILES_BYTES = 1024**3
"""Of images seen as tiles: of the defective ones, of unlabelled ones, and of the fewest of all that are held."""
LEAST_HELD, LEAST_HELD_OF_TILES = 32, 12
"""However large their features are: images that are seen whole, and as tiles."""


def images_in_full(spec: BackboneSpec, tiles: int = 1) -> int:
    """How many good images, of so many tiles, a support holds in full: their features take a bounded part of the
    memory.
    """
    return min(HELD, max(LEAST_HELD if tiles == 1 else LEAST_HELD_OF_TILES, HELD_BYTES // feature_bytes(spec, tiles)))


def most_images(spec: BackboneSpec, tiles: int) -> int:
    """How many defective images of so many tiles, or unlabelled ones, a support holds: all of them in full."""
    return max(LEAST_HELD_OF_TILES, TILES_BYTES // feature_bytes(spec, tiles))


def most_tiles(spec: BackboneSpec, good: int, defects: int) -> int:
    """Of how many tiles such images may be, of which the fewest are held."""
    held = min(good, LEAST_HELD_OF_TILES) + min(defects, LEAST_HELD_OF_TILES)
    return min(MOST_TILES, TILES_BYTES // (held * feature_bytes(spec, 1)))


def feature_bytes(spec: BackboneSpec, tiles: int) -> int:
    """What the features of an image of so many tiles take."""
    return 4 * tiles * sum(level.channels * level.height * level.width for level in spec.levels)
