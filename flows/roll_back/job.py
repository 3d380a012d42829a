"""Rolling back as a job. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bundles.registry import Registry
from flows.progress import OnProgress, ignore_progress
from flows.roll_back.request import RollBackRequest
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RollBackResult:
    """The version that is live now, and the one that was rolled back."""

    line: str
    live: str
    rolled_back: str


def run(request: RollBackRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> RollBackResult:  # noqa: ARG001 - as every job
    """Roll the line back by one version, and note who did it and why.

    Raises:
        ConfigError: no such line, or no version was live before.
        BundleError: that version is damaged; what was live stays live.
        StorageError: the registry cannot be written.
    """
    registry = Registry(settings.home)
    bundle = registry.roll_back(request.line, by=request.by, why=request.why or "")
    last = registry.decisions(request.line)[-1]
    return RollBackResult(line=request.line, live=bundle.manifest.version, rolled_back=last.version)
