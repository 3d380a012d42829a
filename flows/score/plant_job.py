"""Scoring a plant: a folder of lines, each with its live bundle, through one engine. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.bundles.registry import Registry
from deploy.decoding.choice import image_opener
from deploy.engine.devices import open_device
from deploy.results.store import ResultStore
from deploy.scoring.line_scoring import LineScoring
from deploy.scoring.plant import score_plant
from deploy.scoring.plant_pages import write_pages
from deploy.scoring.plant_summary import PlantSummary
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.watch import WatchedFolder
from flows.progress import OnProgress, ignore_progress
from flows.score.outputs import RunOutputs, RunResult, run_figures
from flows.score.publishing import END_SECONDS, publishing, told_of_delivery
from flows.score.request import ScorePlantRequest
from flows.score.requested_source import ended_by_signals, keep_maps_apart, pictures_left_out
from flows.score.scoring_progress import telling
from pipeline.errors import LineError
from pipeline.imaging.files import instead_of_folder
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ScorePlantResult(RunResult):
    """A finished job: the run in numbers."""

    summary: PlantSummary

    def figures(self) -> dict[str, Any]:
        """See `RunResult`; with a row for each line and bundle."""
        summary = self.summary
        return {
            **run_figures(summary, self.device),
            "backbones": summary.backbones,
            "lines": [line_figures(line) for line in summary.lines],
            "skipped_folders": list(summary.skipped.values()),
            "skipped_images": summary.skipped_images,
            "pictures_left_out": self.pictures_left_out,
            "remarks": list(self.remarks),
            "problems": list(summary.problems),
            "report": str(self.report),
            **self.message_figures,
        }


def line_figures(line: LineScoring) -> dict[str, int | str]:
    """A line's counts of files."""
    return {"line": line.line, "version": line.version, **line.tally.counts.figures()}


def run(
    request: ScorePlantRequest,
    settings: Settings,
    on_progress: OnProgress = ignore_progress,
    on_unregistered: Callable[[str], None] | None = None,
) -> ScorePlantResult:
    """Score what has no result of its line's live bundle yet.

    `on_unregistered` is told the folder of every image that lies in one of no registered line.

    Raises:
        ConfigError: maps would be written among the images, or nvJPEG or what publishing needs is not installed.
        DeviceError: the device is not there, or nvJPEG is asked for and does not work.
        LineError: there is no such folder, or it holds no image of a line that can be scored and is not watched.
        StorageError: something cannot be read or written; what was scored until then is kept.
    """
    folder, own = request.images, settings.below_home("overlays")
    if not folder.is_dir():
        remedy = instead_of_folder(folder)
        got = f"a file, {folder}" if folder.exists() else f"no folder {folder}"
        raise LineError("a folder with a folder of images for each line", got, remedy)
    keep_maps_apart(request.maps, folder)
    source = WatchedFolder(folder, own) if request.watch else FolderSource(folder, own)
    total = source.total
    settings.ensure_home()
    opener = image_opener(settings.jpeg_decoder)
    resolved = open_device(request.device, settings)
    workers = request.workers or settings.workers
    with (
        RunOutputs(request, settings.below_home("plant-reports")) as outputs,
        ResultStore(settings.database) as store,
        publishing(request, settings, store) as publisher,
        ended_by_signals(source),
    ):
        summary = score_plant(
            source,
            Registry(settings.home),
            store,
            resolved,
            workers=workers,
            batch_size=resolved.batch_size,
            overlays=(lambda line: settings.line_folder("overlays", line)) if request.overlays else None,
            on_progress=telling(on_progress, "score the plant"),
            on_result=lambda line, *seen: outputs.take(*seen, line=line.line, version=line.version),
            total=total,
            opener=opener,
            publisher=publisher,
            part_rule=request.part_rule,
            on_unregistered=on_unregistered,
        )
        messages = publisher.end(END_SECONDS) if publisher is not None else None
        if summary.counts.found == 0 and not request.watch:
            got = "; ".join(list(summary.skipped.values())[:5]) or f"none in {folder}"
            if isinstance(source, FolderSource) and source.left_out:
                got = f"{got}, but {source.left_out}"
            raise LineError(
                "images in folders that are named as registered lines",
                got,
                "see `linewise registry list` for the names",
            )
        result = ScorePlantResult(
            summary=summary,
            device=resolved.note,
            report=outputs.report,
            json_path=outputs.json_path,
            csv_path=outputs.csv_path,
            remarks=(*source.remarks, *summary.remarks, *told_of_delivery(request.publish, messages)),
            pictures_left_out=pictures_left_out(source),
            messages=messages,
        )
        outputs.finish(
            result,
            lambda files: write_pages(
                outputs.report,
                summary,
                name=request.plant,
                source=str(folder),
                started_at=outputs.started_at,
                device=resolved.note,
                remarks=result.remarks,
                workers=workers,
                files=files,
            ),
            keep=settings.keep_reports,
        )
    return result
