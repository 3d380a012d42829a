"""Export: a registered bundle and its backbone, in one folder that scores anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.bundles.packs import write_pack
from deploy.bundles.registry import Registry
from flows.jobs.progress import OnProgress, Progress, ignore_progress
from flows.jobs.requests import ExportRequest
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written: `folder` holds `files` files of `size_bytes` together."""

    line: str
    version: str
    learner: str
    folder: Path
    files: int
    size_bytes: int


def run(request: ExportRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> ExportResult:
    """Pack the asked version of the line (None: the live one), and check the pack.

    Raises:
        ConfigError: no such line or version.
        BundleError: it is damaged.
        StorageError: something is at the destination, or it cannot be written.
    """
    deployment = Registry(settings.home).deployment(request.line, request.version)
    on_progress(Progress(stage="export", done=0, total=1))
    folder = write_pack(deployment, request.destination.expanduser().absolute())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    on_progress(Progress(stage="export", done=1, total=1))
    manifest = deployment.bundle.manifest
    return ExportResult(
        line=manifest.line,
        version=manifest.version,
        learner=manifest.learner.name,
        folder=folder,
        files=len(sizes),
        size_bytes=sum(sizes),
    )
