"""The input size, and of a fused backbone the networks, a line is looked at with, chosen from its support.

Fine tracks need many pixels, odd texture few: on thirteen real lines the better of two sizes differs from line to line
and is worth more than any learner (`benchmarks/auto.md`). The support tells them apart: at which size do its defects,
synthetic ones where there are no others, stand out most from its good images?

So for networks: what a vision transformer adds on textures it takes away on fine tracks (`benchmarks/vit.md`). Fused
ones are the first choice, their first alone the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy.bundles.manifest import ChoiceRecord
from flows.held_images import images_in_full
from flows.open_backbone import OpenBackbone
from pipeline.augmentations import FLIPS, ROTATIONS
from pipeline.episodes import SupportSet
from pipeline.errors import ConfigError
from pipeline.features import FUSED, BackboneSpec, FeatureExtractor
from pipeline.imaging.alignment import Alignment
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import PreprocessSpec, read_size
from pipeline.input_size import InputSize, oblong_ratio
from pipeline.learner import Adaptation, AnomalyHead, AnomalyOutput, Choice, Learner
from pipeline.patch_samples import held_first
from pipeline.product_lines.lines import ImageRecord
from pipeline.region_cells import tiles_within
from pipeline.region_of_interest import RegionOfInterest
from pipeline.support import DirectFeatures, FeatureSource, SupportConfig, build_support
from pipeline.tile_grid import TileGrid
from pipeline.tiled_extractor import TiledExtractor

SUPPORT = SupportConfig()
ANY_ANGLE = SupportConfig(augmentations=tuple(dict.fromkeys((*FLIPS, *ROTATIONS))))
"""For parts that lie anyhow: rotations of the good images count as good too. Where parts keep their orientation that
costs a little, and a few images do not tell reliably which it is: a person says it (`benchmarks/rotation.md`)."""
DEFAULT_SIZE = 256
LARGER_SIZES = (512, 384)
"""Tried beside the default, the first that enlarges no image of the support."""


_BACKBONE_LEAD = 0.5
"""By which the evidence of a single network must be above that of the fused ones: about the standard error of a d' of
four good images and eight defects. From 0.3 to 0.5 the figures are alike, at 0.8 lines of fine tracks are lost."""
_OF_VIEWS = ("backbone", "input size")

_TRIED = 32  # good images, and defects, by which the input size is chosen: all are read at the chosen one only


@dataclass(frozen=True)
class View:
    """A line's support images as one backbone at one input size sees them.

    `good` has the order of the support's image numbers, those first that it holds in full; `config` is what of it
    these many images need; of a line with a `region` the rest of an image does not count. With `tiles`, the support's
    levels, and all maps of it, are stacks (`SupportSet.tiles`).
    """

    backbone: OpenBackbone
    preprocess: PreprocessSpec
    good: tuple[ImageRecord, ...]
    defects: tuple[ImageRecord, ...]
    config: SupportConfig
    support: SupportSet
    region: RegionOfInterest | None = None
    tiles: TileGrid | None = None

    @property
    def extractor(self) -> FeatureExtractor:
        """Of images that `preprocess` made."""
        return _extractor(self.backbone, self.tiles)


@dataclass(frozen=True)
class AdaptedLine:
    """An adapted head in torch, who adapted it, from which view, and what was chosen on the way.

    `alone` are the good images' leave-one-out scores where they are at hand.
    """

    view: View
    learner: Learner
    head: AnomalyHead
    choices: tuple[ChoiceRecord, ...]
    alone: AnomalyOutput | None = None


def candidate_sizes(
    records: Sequence[ImageRecord], *, side: int | None = None, oblong: bool = False
) -> tuple[InputSize, ...]:
    """The input sizes worth trying for these images: the default, and a larger one that enlarges none of them.

    Args:
        records: at least one.
        side: of the square that was asked for, which is tried alone; None: none was.
        oblong: oblong images keep their proportions, in about as many pixels (`benchmarks/oblong.md`).
    """
    sizes = [read_size(record.path) for record in records]
    ratio = oblong_ratio(sizes) if oblong else None
    sides = (DEFAULT_SIZE, *LARGER_SIZES) if side is None else (side,)
    first, *larger = (InputSize.of(side) if ratio is None else InputSize.following(ratio, side) for side in sides)
    lowest, narrowest = (min(lengths) for lengths in zip(*sizes, strict=True))
    return (first, *[size for size in larger if size.height <= lowest and size.width <= narrowest][:1])


def candidate_backbones(name: str, learner: Learner, spec: BackboneSpec) -> tuple[str, ...]:
    """The backbones worth trying where a fused one is asked for: that, and its first network alone.

    Args:
        name: of the one asked for.
        learner: those that learned from other lines stay with it.
        spec: of it.
    """
    if FUSED not in name or learner.through(spec) is None:
        return (name,)
    return name, name.split(FUSED, maxsplit=1)[0]


def within_time(backbones: Sequence[OpenBackbone], most_ms: float | None, tiles: int = 1) -> list[OpenBackbone]:
    """Those that take no longer than so many milliseconds an image on this machine's CPU; None: all of them.

    `tiles`: that an image is seen as.

    Raises:
        ConfigError: none of them is as fast.
    """
    if most_ms is None:
        return list(backbones)
    times = [tiles * backbone.milliseconds() for backbone in backbones]
    fast = [backbone for backbone, taken in zip(backbones, times, strict=True) if taken <= most_ms]
    if not fast:
        raise ConfigError(
            f"a backbone that takes at most {most_ms:g} ms an image on this machine's CPU",
            f"{min(times):.1f} ms for the fastest",
            f"allow more with --most-ms, or choose a smaller --size or --backbone{', or fewer --tiles' * (tiles > 1)}",
        )
    return fast


def view_of(
    backbone: OpenBackbone,
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    *,
    config: SupportConfig = SUPPORT,
    white_level: int | None = None,
    bayer: BayerPattern | None = None,
    features: FeatureSource | None = None,
    region: RegionOfInterest | None = None,
    alignment: Alignment | None = None,
    tiles: tuple[int, int] | None = None,
    seed: int,
    on_decoded: Callable[[], None] = lambda: None,
) -> View:
    """Decode the images to the backbone's size and build their support set.

    `features` gives cached ones; None: straight from the backbone, in full precision. `tiles`: rows and columns of
    those that the images are cut into, of which a line with a region looks at those that show some of it; None: they
    are seen whole. `on_decoded` is called for each image that is read.
    """
    preprocess = replace(backbone.preprocess(white_level, bayer), alignment=alignment)
    grid = None if tiles is None else TileGrid.of(tiles, backbone.spec.height)
    if grid is not None:
        preprocess = replace(preprocess, height=grid.canvas.height, width=grid.canvas.width)
        grid = grid if region is None else tiles_within(region, grid, backbone.spec)
    each = 1 if grid is None else grid.count
    held = images_in_full(backbone.spec, each)
    # Flips stand in for images that are missing, and tiles of two images do so as well.
    good, config = held_first(good, held, seed), config.for_count(len(good) if len(good) < 2 else len(good) * each)
    support = build_support(
        good,
        defects,
        features or DirectFeatures(_extractor(backbone, grid)),
        preprocess,
        config,
        seed=seed,
        held=held,
        region=region,
        tiles=grid,
        on_decoded=on_decoded,
    )
    return View(backbone, preprocess, tuple(good), tuple(defects), config, support, region, grid)


def _extractor(backbone: OpenBackbone, tiles: TileGrid | None) -> FeatureExtractor:
    return backbone.extractor if tiles is None else TiledExtractor(backbone.extractor, tiles)


def adapt_to_best(learner: Learner, views: Sequence[View], *, seed: int) -> AdaptedLine:
    """Adapt to each view, and keep the one whose image scores tell the support's defects best.

    Of views through several backbones, one through the first is kept unless another's evidence leads by enough.
    """
    attempts: dict[str, dict[str, tuple[View, Learner, Adaptation]]] = {}
    for view in views:
        own = learner.through(view.backbone.spec) or learner
        found = own.choose(view.support, seed=seed)
        sizes = attempts.setdefault(view.backbone.spec.name, {})
        sizes[str(view.backbone.spec.size)] = view, own, found
    by_size = {name: {size: tried[2].evidence for size, tried in sizes.items()} for name, sizes in attempts.items()}
    backbone = Choice(what="backbone", evidence={n: max(e.values()) for n, e in by_size.items()}, lead=_BACKBONE_LEAD)
    size = Choice(what="input size", evidence=by_size[backbone.chosen])
    view, own, found = attempts[backbone.chosen][size.chosen]
    choices = (*(choice for choice in (backbone, size) if len(choice.evidence) > 1), *found.choices)
    records = (
        ChoiceRecord(what=choice.what, chosen=choice.chosen, evidence=dict(choice.evidence)) for choice in choices
    )
    return AdaptedLine(view, own, found.head, tuple(records))


def adapt_at_best_size(
    learner: Learner,
    backbones: Sequence[OpenBackbone],
    good: Sequence[ImageRecord],
    defects: Sequence[ImageRecord],
    *,
    config: SupportConfig,
    white_level: int | None,
    bayer: BayerPattern | None,
    region: RegionOfInterest | None = None,
    alignment: Alignment | None = None,
    tiles: tuple[int, int] | None = None,
    seed: int,
    on_read: Callable[[int, int], None] = lambda _read, _of: None,
) -> AdaptedLine:
    """Choose the backbone, of several networks and input sizes, and adapt to all images through it.

    It is chosen by at most 32 good and 32 defective images; `on_read` is told how many of all images, those read
    again at another size among them, are read.
    """
    if tiles is not None and len(backbones) == 1:
        config = replace(config, synthetic=0)  # there is nothing to choose by them
    few, some = (drawn_evenly(records, _TRIED, seed) for records in (good, defects))
    on_few = len(backbones) > 1 and len(few) + len(some) < len(good) + len(defects)
    read, total = 0, len(backbones) * (len(few) + len(some)) if len(backbones) > 1 else 0
    total += len(good) + len(defects) if on_few or len(backbones) == 1 else 0

    def one_more() -> None:
        nonlocal read
        read = min(read + 1, total)
        on_read(read, total)

    def seen(backbone: OpenBackbone, good: Sequence[ImageRecord], defects: Sequence[ImageRecord]) -> View:
        return view_of(
            backbone,
            good,
            defects,
            config=config,
            white_level=white_level,
            bayer=bayer,
            region=region,
            alignment=alignment,
            tiles=tiles,
            seed=seed,
            on_decoded=one_more,
        )

    if not on_few:
        return adapt_to_best(learner, [seen(backbone, good, defects) for backbone in backbones], seed=seed)
    tried = adapt_to_best(learner, [seen(backbone, few, some) for backbone in backbones], seed=seed)
    adapted = adapt_to_best(learner, [seen(tried.view.backbone, good, defects)], seed=seed)
    of_views = [choice for choice in tried.choices if choice.what in _OF_VIEWS]
    return replace(adapted, choices=(*of_views, *adapted.choices))


def drawn_evenly(records: Sequence[ImageRecord], limit: int, seed: int) -> list[ImageRecord]:
    """At most `limit` of the records, drawn by the seed and evenly over their kinds; all where they are no more."""
    drawn = {record.path for record in drawing_order(records, seed)[:limit]}
    return [record for record in records if record.path in drawn]


def drawing_order(records: Sequence[ImageRecord], seed: int) -> list[ImageRecord]:
    """The records in the order in which they are drawn: the first of every kind, then the second of every kind, ..."""
    seen, turns = Counter[str](), []
    for index in np.random.default_rng(seed).permutation(len(records)):
        turns.append((seen[records[index].kind], index))
        seen[records[index].kind] += 1
    return [records[index] for _, index in sorted(turns, key=lambda turn: turn[0])]
