"""What a new bundle says about a few images of its own line: the pictures of an adaptation's artifact. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.bundles.manifest import HEAD
from deploy.bundles.packs import Deployment
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.reports.gallery import GalleryItem, build_item
from pipeline.imaging.images import UnreadableImage, read_image, read_native
from pipeline.likeness import Seen
from pipeline.product_lines.lines import ImageRecord, load_line
from pipeline.settings import Device

MAX_DEFECTS = 6
MAX_GOOD = 4
SIDE = 256


@dataclass(frozen=True)
class Preview:
    """One image as the bundle sees it; `in_support`: the bundle was adapted from it, so it proves little."""

    item: GalleryItem
    in_support: bool


def preview(deployment: Deployment, images: Path) -> list[Preview]:
    """Score a few images of the line's folder: defects first, images outside the support before those inside.

    An unreadable image is left out, as adaptation has named it; so is one without a finite score, which has no picture.
    """
    line = load_line(images)
    manifest = deployment.bundle.manifest
    engine = ScoringEngine(deployment.backbone, Device.CPU, threads=available_cpus())
    engine.add_head(manifest.line, deployment.bundle.head_path, manifest.files[HEAD])
    used = {*manifest.support.good, *manifest.support.defects}

    def look(records: Sequence[ImageRecord], limit: int) -> list[Preview]:
        seen = []
        for record in records:
            image = read_image(record.path, manifest.preprocess)
            if isinstance(image, UnreadableImage):
                continue
            (scored,) = engine.score(manifest.line, image.pixels[None])
            verdict = deployment.bundle.judge(scored, Seen(image.pixels, image.source_size, image.colour))
            if not verdict.judged:
                continue
            item = build_item(
                name=str(record.path.relative_to(line.root)),
                score=scored.score,
                decision=verdict.decision,
                reason=verdict.reason,
                pixels=image.pixels,
                anomaly_map=scored.anomaly_map,
                pixel_threshold=manifest.threshold.pixel,
                display=read_native(
                    record.path, white_level=manifest.preprocess.white_level, bayer=manifest.preprocess.bayer
                ),
                max_side=SIDE,
            )
            seen.append(Preview(item, image.sha256 in used))
        return sorted(seen, key=lambda shown: shown.in_support)[:limit]

    # A few more than are shown, so that some outside the support are among them.
    defects = look(_spread(line.defects, 3 * MAX_DEFECTS), MAX_DEFECTS)
    good = look(_spread((*line.test_good, *line.train_good), 6 * MAX_GOOD), MAX_GOOD)
    return [*defects, *good]


def _spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """`count` of the records, evenly over the whole sequence, so that no kind of defect hides the others."""
    step = max(1, len(records) // count)
    return list(records[::step][:count])
