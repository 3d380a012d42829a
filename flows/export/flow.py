"""The flow `export`: a registered bundle and its backbone, in a folder that scores anywhere."""

from __future__ import annotations

from prefect import flow, task

from flows.export import job
from flows.export.request import ExportRequest
from flows.server.artifacts import Cell, ProgressArtifact, artifact_key, publish_figures
from flows.server.runs import fails_with_a_sentence, retried_on_storage_trouble, tagged
from pipeline.settings import load_settings


@flow(name="export", flow_run_name="export {request.line}")
@fails_with_a_sentence
def export(request: ExportRequest) -> job.ExportResult:
    """Pack the version, check the pack, say what is in it."""
    with tagged(f"line:{request.line}"):
        packed = pack(request)
        show(packed)
    return packed


@task(
    task_run_name="pack {request.line}",
    **retried_on_storage_trouble(5, 30),
)
def pack(request: ExportRequest) -> job.ExportResult:
    """Write bundle and backbone into the destination."""
    return job.run(request, load_settings(), ProgressArtifact(artifact_key("progress", request.line)))


def show(packed: job.ExportResult) -> None:
    """A markdown artifact that names the folder."""
    figures: dict[str, Cell] = {
        "line": packed.line,
        "version": packed.version,
        "learner": packed.learner,
        "folder": str(packed.folder),
        "files": packed.files,
        "size (MiB)": packed.size_bytes / 2**20,
    }
    if packed.int8 is not None:
        figures |= {"int8 against float32": packed.int8.figures, "float32 over int8 seconds": packed.speedup}
    publish_figures(artifact_key("export", packed.line), figures, f"Exported bundle of {packed.line}")
