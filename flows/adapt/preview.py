"""What a new bundle says about a few images of its own line: the pictures of an adaptation's artifact. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    line, look_at = load_line(images), _looking_through(deployment)

    def look(record: ImageRecord) -> Preview | None:
        return look_at(record.path, str(record.path.relative_to(line.root)))

    def seen(records: Sequence[ImageRecord], limit: int) -> list[Preview]:
        found = [shown for record in records if (shown := look(record)) is not None]
        return sorted(found, key=lambda shown: shown.in_support)[:limit]

    # A few more than are shown, so that some outside the support are among them.
    defects = seen(_spread(line.defects, 3 * MAX_DEFECTS), MAX_DEFECTS)
    good = seen(_spread((*line.test_good, *line.train_good), 6 * MAX_GOOD), MAX_GOOD)
    return [*defects, *good]


def preview_files(deployment: Deployment, named: Mapping[str, Path]) -> list[GalleryItem]:
    """Files by what to call them as the bundle sees them, in their order; those without a picture are left out."""
    look = _looking_through(deployment)
    seen = [look(path, name) for name, path in named.items()]
    return [shown.item for shown in seen if shown is not None]


def _looking_through(deployment: Deployment) -> Callable[[Path, str], Preview | None]:
    """What shows an image, by a name, as the bundle sees it; None: it cannot."""
    manifest = deployment.bundle.manifest
    preprocess = manifest.preprocess
    engine = ScoringEngine(deployment.backbone, Device.CPU, threads=available_cpus())
    engine.add_head(manifest.line, deployment.bundle.head_path, manifest.files[HEAD], tiles=manifest.tiles)
    used = {*manifest.support.good, *manifest.support.defects}

    def look(path: Path, name: str) -> Preview | None:
        image = read_image(path, preprocess)
        if isinstance(image, UnreadableImage):
            return None
        (scored,) = engine.score(manifest.line, image.pixels[None])
        seen = Seen(image.pixels, image.source_size, image.colour, placement=image.placement)
        verdict = deployment.bundle.judge(scored, seen)
        if not verdict.judged:
            return None
        item = build_item(
            name=name,
            score=scored.score,
            decision=verdict.decision,
            reason=verdict.reason,
            pixels=image.pixels,
            anomaly_map=scored.anomaly_map,
            pixel_threshold=manifest.threshold.pixel,
            display=read_native(path, white_level=preprocess.white_level, bayer=preprocess.bayer),
            region=deployment.bundle.region,
            placement=image.placement,
            max_side=SIDE,
        )
        return Preview(item, image.sha256 in used)

    return look


def _spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """`count` of the records, evenly over the whole sequence, so that no kind of defect hides the others."""
    step = max(1, len(records) // count)
    return list(records[::step][:count])
