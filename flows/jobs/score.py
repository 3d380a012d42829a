"""Scoring a folder with a line's bundle: decisions, heat maps, rows in the store, a report. Torch-free."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.bundle import Bundle
from deploy.gallery import Gallery, GalleryItem, SupportView, build_item
from deploy.manifest import HEAD
from deploy.packs import Deployment, open_packed
from deploy.registry import Registry
from deploy.report import ReportData, write_report
from deploy.results import ResultStore
from deploy.runtime import Device, ScoringEngine, resolve_device
from deploy.scorer import ImageResult, ImageView, ScoringProgress, ScoringSummary, score_folder
from flows.jobs.progress import OnProgress, Progress, ignore_progress
from flows.jobs.requests import ScoreRequest
from flows.jobs.row_spool import RowSpool
from pipeline.calibration import Decision
from pipeline.errors import BundleError, ImageError, LineError, StorageError
from pipeline.images import iter_image_files, read_native
from pipeline.settings import Settings

ACCELERATOR_BATCH = 32
SUPPORT_THUMBNAILS = 16

VIEWS: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "hflip": lambda image: image[:, ::-1],
    "vflip": lambda image: image[::-1],
    "rot180": lambda image: image[::-1, ::-1],
}
"""The augmentations of `pipeline.support`, which imports torch; a test holds the two equal."""


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """A finished scoring job: the run in numbers, what it wrote, and the images worth looking at."""

    line: str
    version: str
    device: str
    summary: ScoringSummary
    gallery: tuple[GalleryItem, ...]
    report: Path
    json_path: Path
    csv_path: Path

    def figures(self) -> dict[str, int | float | str]:
        """The run in numbers, for a table, a JSON head or an artifact."""
        summary = self.summary
        return {
            "line": self.line,
            "version": self.version,
            "images": summary.found,
            "pass": summary.decisions[Decision.PASS],
            "review": summary.decisions[Decision.REVIEW],
            "reject": summary.decisions[Decision.REJECT],
            "unreadable": summary.unreadable,
            "scored_before": summary.skipped,
            "images_per_second": round(summary.images_per_second, 2),
            "seconds": round(summary.seconds, 3),
            "device": self.device,
        }


def run(request: ScoreRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> ScoreResult:
    """Score the images that have no result of this bundle yet; the report covers all of them.

    Raises:
        ConfigError: no such line or version.
        BundleError: the bundle is damaged, or an exported one is another line's.
        DeviceError: the device is not there.
        LineError: the folder holds no image file.
        StorageError: something cannot be read or written; what was scored until then is kept.
    """
    deployment = find_deployment(request, settings)
    total = count_images(request.images)
    settings.ensure_home()
    resolved = resolve_device(Device(request.device.value), cache_folder=settings.home / "engines")
    engine = ScoringEngine(deployment.backbone, resolved, threads=1)  # one CPU a worker scales best
    bundle = deployment.bundle
    engine.add_head(bundle.manifest.line, bundle.head_path, bundle.manifest.files[HEAD])

    gallery, started_at = Gallery(), datetime.now(UTC)
    report, json_path, csv_path = output_paths(request, settings, bundle, started_at)
    offer = _offers(bundle, request.images)
    with RowSpool(request.images) as rows, ResultStore(settings.database) as store:

        def keep(result: ImageResult, view: ImageView | None) -> None:
            rows.add(result)
            if view is not None and result.score is not None and result.decision is not None:
                offer(gallery, result, view)

        summary = score_folder(
            bundle,
            engine,
            request.images,
            store,
            device=resolved.device,
            workers=request.workers or settings.workers,
            batch_size=1 if resolved.device is Device.CPU else ACCELERATOR_BATCH,
            overlays=settings.below_home("overlays", bundle.manifest.line) if request.overlays else None,
            on_progress=lambda progress: on_progress(_told(progress)),
            on_result=keep,
            total=total,
        )
        result = ScoreResult(
            line=bundle.manifest.line,
            version=bundle.manifest.version,
            device=resolved.note,
            summary=summary,
            gallery=tuple(gallery.items()),
            report=report,
            json_path=json_path,
            csv_path=csv_path,
        )
        rows.write_json(json_path, result.figures())
        rows.write_csv(csv_path)
    write_report(
        report,
        ReportData(
            manifest=bundle.manifest,
            started_at=started_at,
            seconds=summary.seconds,
            device=resolved.note,
            images_per_second=summary.images_per_second,
            source=str(request.images),
            scores=summary.scores,
            gallery=result.gallery,
            unreadable=summary.unreadable_files,
            support=[path.read_bytes() for path in bundle.support_paths[:SUPPORT_THUMBNAILS]],
            files=[path.name for path in (json_path, csv_path) if path.parent == report.parent],
            notes=_notes(summary),
        ),
    )
    return result


def find_deployment(request: ScoreRequest, settings: Settings) -> Deployment:
    """The bundle and backbone to score with, every byte checked."""
    if request.bundle is None:
        return Registry(settings.home).deployment(request.line, request.version)
    deployment = open_packed(request.bundle)
    packed = deployment.bundle.manifest.line
    if packed != request.line:
        raise BundleError(
            f"a bundle of line {request.line!r}", f"one of {packed!r}", "name that line or another bundle"
        )
    return deployment


def count_images(folder: Path) -> int:
    """How many image files lie below the folder.

    Raises:
        LineError: none, or no such folder.
    """
    if not folder.is_dir():
        raise LineError("a folder of images", f"no folder {folder}", "check the path")
    total = sum(1 for _ in iter_image_files(folder))
    if total == 0:
        raise LineError("image files", f"none in {folder}", "name a folder that holds images")
    return total


def output_paths(
    request: ScoreRequest, settings: Settings, bundle: Bundle, started_at: datetime
) -> tuple[Path, Path, Path]:
    """Where report, JSON and CSV go: as the request says, else into one new folder in the home."""
    if request.report is not None:
        report = request.report.expanduser().absolute()
        folder, stem = report.parent, report.stem
    else:
        run_name = f"{started_at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        folder, stem = settings.below_home("reports", bundle.manifest.line, run_name), "results"
        report = folder / "report.html"
    json_path = (request.json_path or folder / f"{stem}.json").expanduser().absolute()
    csv_path = (request.csv_path or folder / f"{stem}.csv").expanduser().absolute()
    for path in (report, json_path, csv_path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"a folder {path.parent} to write into", error.strerror or str(error), "name another output folder"
            ) from error
    return report, json_path, csv_path


def _offers(bundle: Bundle, folder: Path) -> Callable[[Gallery, ImageResult, ImageView], None]:
    """How a scored image is offered to the gallery: its pictures are made only if it is taken."""
    manifest, sources, view_of_support = bundle.manifest, bundle.bank_sources(), _support_view(bundle)

    def offer(gallery: Gallery, result: ImageResult, view: ImageView) -> None:
        score, decision = result.score, result.decision
        assert score is not None
        assert decision is not None

        def build() -> GalleryItem:
            return build_item(
                name=_name(result.path, folder),
                score=score,
                decision=decision,
                pixels=view.pixels,
                anomaly_map=view.anomaly_map,
                pixel_threshold=manifest.threshold.pixel,
                nearest=view.nearest,
                bank_sources=sources,
                support_view=view_of_support,
                display=_display(result.path, manifest.preprocess.white_level),
            )

        gallery.offer(score, decision, build)

    return offer


def _display(path: Path, white_level: int | None) -> NDArray[np.uint8] | None:
    """The file at its own size, for looking at; None when it changed or went away since it was scored."""
    try:
        return read_native(path, white_level=white_level)
    except ImageError:
        return None


def _support_view(bundle: Bundle) -> SupportView:
    """The good support images as the bank saw them. An augmentation that the bundle does not name cannot be shown."""
    names = bundle.manifest.learner.config.get("augmentations")
    views = [VIEWS.get(str(name)) for name in names] if isinstance(names, list) else []
    paths = bundle.support_paths

    def show(image: int, augmentation: int) -> NDArray[np.uint8] | None:
        if not 0 <= image < len(paths):
            return None
        stored = cv2.imread(str(paths[image]), cv2.IMREAD_COLOR)
        if stored is None:
            return None
        pixels = np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        if augmentation < 0:
            return pixels
        view = views[augmentation] if augmentation < len(views) else None
        return None if view is None else np.ascontiguousarray(view(pixels))

    return show


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _told(progress: ScoringProgress) -> Progress:
    rate = progress.done / progress.seconds if progress.seconds > 0 else 0.0
    return Progress(
        stage="score",
        done=progress.done,
        total=progress.total,
        figures={"images/s": rate, "flagged": progress.flagged, "unreadable": progress.unreadable},
    )


def _notes(summary: ScoringSummary) -> list[str]:
    """What a reader of the report should know first."""
    notes = []
    if summary.skipped:
        notes.append(
            f"{summary.skipped} of {summary.found} images had a score of this bundle already. They count in the "
            "numbers and in the histogram, but the gallery shows only images scored in this run."
        )
    if summary.duplicate_count:
        notes.append(f"{summary.duplicate_count} files have the content of another file.")
    return notes
