"""Export: a registered bundle and its backbone, in one folder that scores anywhere."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.bundles.packs import write_pack
from deploy.bundles.registry import Registry
from flows.export.request import ExportRequest
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.settings import Settings

if TYPE_CHECKING:  # what makes and judges int8 is loaded only for who asks for it: a plant's machine does not have it
    from pipeline.precision_gate import Comparison


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written: `folder` holds `files` files of `size_bytes` together.

    Where int8 was asked for: what its gate saw, and how many times as fast scoring is (see `int8_gate.Int8`).
    """

    line: str
    version: str
    learner: str
    folder: Path
    files: int
    size_bytes: int
    int8: Comparison | None = None
    speedup: float | None = None


def run(request: ExportRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> ExportResult:
    """Pack the asked version of the line (None: the live one), in int8 where asked for, and check the pack.

    Raises:
        ConfigError: no such line or version, or one that cannot be made int8.
        PrecisionError: int8 ranks or decides the line's images otherwise.
        LineError: too few images to tell.
        BundleError: it is damaged.
        StorageError: something is at the destination, or it cannot be written.
    """
    deployment = Registry(settings.home).deployment(request.line, request.version)
    comparison, speedup = None, None
    with tempfile.TemporaryDirectory(prefix="linewise-") as scratch:
        if request.int8 is not None:
            make_int8 = import_module("flows.export.int8_gate").make_int8
            deployment, comparison, speedup = make_int8(deployment, request.int8, Path(scratch), on_progress)
        on_progress(Progress(stage="export", done=0, total=1))
        folder = write_pack(deployment, request.destination.absolute())
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
        int8=comparison,
        speedup=speedup,
    )
