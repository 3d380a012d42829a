"""What a live line is adapted anew with: the settings of its live version, and what the store knows since."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import BY_DEFAULT, REGION
from flows.adapt.request import AdaptRequest
from flows.life.request import TendRequest
from flows.views import DEFAULT_SIZE
from pipeline.augmentations import ROTATIONS
from pipeline.errors import LineError
from pipeline.imaging.alignment import AlignMode
from pipeline.imaging.images import read_size
from pipeline.product_lines.layout_names import REGION_FILES
from pipeline.product_lines.lines import ProductLine


def first_adaptation(request: TendRequest, name: str, folder: Path) -> AdaptRequest:
    """The adaptation to a new line, with all that is asked of new ones.

    Raises:
        ConfigError: no line can have that name.
    """
    kept = {field: getattr(request, field) for field in _of_new_lines()}
    return AdaptRequest.asked(line=name, images=folder, gate=True, **kept)


def next_adaptation(request: TendRequest, live: Bundle, line: ProductLine, *, production: bool) -> AdaptRequest:
    """The adaptation that a live line's next version comes of.

    Args:
        request: says how far back to look, and where the meta-model lies.
        live: whose settings stay.
        line: its labelled images.
        production: whether to take up from its production.

    Raises:
        LineError: its live version cannot be made anew by itself.
        ConfigError: a setting of it is not taken any more.
    """
    manifest = live.manifest
    if manifest.int8 is not None:
        got = f"{manifest.version}, which is int8"
        raise LineError(f"a float32 version of {manifest.line} live, to adapt anew", got, "adapt and export it by hand")
    threshold, augmentations = manifest.threshold, manifest.learner.config.get("augmentations")
    chosen, size = any(choice.what == "input size" for choice in manifest.choices), manifest.spec.size
    missed, alignment = threshold.target_missed_defect_rate, manifest.preprocess.alignment
    settings: dict[str, Any] = {
        **{field: getattr(request, field) for field in ("meta_model", "good", "defects")},
        "learner": None if manifest.learner.config.get(BY_DEFAULT) else manifest.learner.name,
        "backbone": manifest.backbone.name,
        "size": None if chosen or size.side == DEFAULT_SIZE else size.side,
        "oblong": not size.is_square,
        "tiles": None if manifest.tiles is None else f"{manifest.tiles.rows}x{manifest.tiles.columns}",
        "cascade": manifest.first_look is not None and not _draws_region(line),  # which goes before speed
        "least_defect_area": _least_area(live, line),
        "millimetres_per_pixel": threshold.millimetres_per_pixel,
        "any_angle": isinstance(augmentations, list) and set(ROTATIONS) <= set(augmentations),
        "align": AlignMode.NONE if alignment is None else alignment.mode,
        "white_level": manifest.preprocess.white_level,
        "bayer": manifest.preprocess.bayer,
        "seed": manifest.lineage.seed,
        "region": _region(live, line),
    }
    settings |= (
        {"target_false_reject_rate": threshold.target_false_reject_rate}
        if missed is None
        else {"missed_defects": missed}
    )
    if production:
        settings["production_hours"] = request.production_hours
    return AdaptRequest.asked(line=manifest.line, images=line.root, verdicts=True, gate=True, **settings)


def _of_new_lines() -> list[str]:
    own = TendRequest.__annotations__
    return [field for field in TendRequest.model_fields if field not in own]


def _region(live: Bundle, line: ProductLine) -> Path | None:
    """The live version's region, where the line's folder does not draw one."""
    return None if live.manifest.region is None or _draws_region(line) else live.path / REGION


def _draws_region(line: ProductLine) -> bool:
    return any((line.root / name).is_file() for name in REGION_FILES)


def _least_area(live: Bundle, line: ProductLine) -> float | None:
    """What was asked for: a share of the image, in pixels of it or in square millimetres."""
    threshold = live.manifest.threshold
    if not threshold.least_area:
        return None
    sizes = [read_size(record.path) for record in (*line.train_good, *line.defects)]
    pixels = median(height * width for height, width in sizes)
    return threshold.least_area * pixels * (threshold.millimetres_per_pixel or 1.0) ** 2
