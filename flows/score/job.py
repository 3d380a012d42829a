"""Scoring images with a line's bundle: decisions, heat maps, rows in the store, a report. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bundles.packs import Deployment, open_packed
from deploy.bundles.registry import Registry
from deploy.decoding.choice import image_opener
from deploy.engine.devices import open_device
from deploy.reports.gallery import Gallery, GalleryItem
from deploy.results.store import ResultStore
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.line_engine import line_engine
from deploy.scoring.line_page import write_line_page
from deploy.scoring.pictures import Pictures
from deploy.scoring.promotion import PromotionNotice
from deploy.scoring.scorer import score_images
from deploy.scoring.tally import ScoringSummary
from flows.progress import OnProgress, ignore_progress
from flows.score.outputs import RunOutputs, RunResult, run_figures
from flows.score.publishing import END_SECONDS, publishing, told_of_delivery
from flows.score.request import ScoreRequest
from flows.score.requested_source import count_images, ended_by_signals, pictures_left_out, request_source
from flows.score.scoring_progress import telling
from pipeline.errors import BundleError
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ScoreResult(RunResult):
    """A finished job: the run in numbers, and the images worth looking at."""

    line: str
    version: str
    summary: ScoringSummary
    gallery: tuple[GalleryItem, ...]

    def figures(self) -> dict[str, int | float | str | None]:
        """See `RunResult`."""
        figures = run_figures(self.summary, self.device)
        left_out = {"pictures_left_out": self.pictures_left_out}
        return {"line": self.line, "version": self.version, **figures, **left_out, **self.message_figures}


def run(request: ScoreRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> ScoreResult:
    """Score the images that have no result of this bundle yet; the report covers all of them.

    Raises:
        ConfigError: no such line or version, maps would be written among the images, or nvJPEG or what publishing needs
            is not installed.
        BundleError: the bundle is damaged, or an exported one is another line's.
        DeviceError: the device is not there, or nvJPEG is asked for and does not work.
        LineError: there is no image file.
        StorageError: something cannot be read or written; what was scored until then is kept.
    """
    deployment = find_deployment(request, settings)
    bundle = deployment.bundle
    overlays = settings.line_folder("overlays", bundle.manifest.line) if request.overlays else None
    source = request_source(request, settings, overlays)
    total = count_images(source)
    settings.ensure_home()
    opener = image_opener(settings.jpeg_decoder)
    resolved = open_device(request.device, settings)
    engine = line_engine(deployment, resolved)

    line, version = bundle.manifest.line, bundle.manifest.version
    follows_what_is_live = request.bundle is None and request.version is None
    remarks = PromotionNotice(Registry(settings.home), bundle).remarks if follows_what_is_live else tuple
    gallery = Gallery()
    pictures = Pictures(gallery, bundle)
    with (
        RunOutputs(request, settings.line_folder("reports", line)) as outputs,
        ResultStore(settings.database) as store,
        publishing(request, settings, store) as publisher,
        ended_by_signals(source),
    ):

        def take(result: ImageResult, view: ImageView | None) -> None:
            outputs.take(result, view, line=line, version=version)
            pictures.take(result, view)

        summary = score_images(
            bundle,
            engine,
            source,
            store,
            device=resolved.device,
            workers=request.workers or settings.workers,
            batch_size=resolved.batch_size,
            overlays=overlays,
            on_progress=telling(on_progress, "score"),
            on_result=take,
            total=total,
            remarks=remarks,
            opener=opener,
            publisher=publisher,
            part_rule=request.part_rule,
        )
        words = [] if bundle.manifest.kinds is None else store.verdicts(line)
        messages = publisher.end(END_SECONDS) if publisher is not None else None
        result = ScoreResult(
            line=line,
            version=version,
            device=resolved.note,
            summary=summary,
            gallery=tuple(gallery.items()),
            report=outputs.report,
            json_path=outputs.json_path,
            csv_path=outputs.csv_path,
            remarks=(*source.remarks, *summary.remarks, *told_of_delivery(request.publish, messages)),
            pictures_left_out=pictures_left_out(source),
            messages=messages,
        )
        outputs.finish(
            result,
            lambda files: write_line_page(
                outputs.report,
                bundle,
                summary.tally,
                gallery=result.gallery,
                source=request.images,
                started_at=outputs.started_at,
                seconds=summary.seconds,
                device=resolved.note,
                images_per_second=summary.images_per_second,
                files=files,
                notes=[*_notes(summary), *result.remarks, *remarks()],
                parts=summary.parts,
                kinds_by_content={word.image_sha256: word.kind for word in words if word.kind is not None},
            ),
            keep=settings.keep_reports,
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


def _notes(summary: ScoringSummary) -> list[str]:
    """What a reader of the report should know first."""
    count = summary.duplicate_count
    return [f"{count} files have the content of another file."] if count else []
