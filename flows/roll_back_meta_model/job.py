"""Rolling a plant's meta-model back as a job. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from flows.plant_meta_models import PlantMetaModels
from flows.progress import OnProgress, ignore_progress
from flows.roll_back_meta_model.request import RollBackMetaModelRequest
from pipeline.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RollBackMetaModelResult:
    """The version that is live now, None: none is; and the one that was rolled back."""

    learner: str
    live: str | None
    rolled_back: str

    @property
    def sentence(self) -> str:
        """What adaptation takes from now on."""
        now = f"The plant's meta-model of {self.learner} is {self.live}"
        return f"{now if self.live is not None else f'The plant has no meta-model of {self.learner} of its own'} again."


def run(
    request: RollBackMetaModelRequest,
    settings: Settings,
    on_progress: OnProgress = ignore_progress,  # noqa: ARG001 - as every job
) -> RollBackMetaModelResult:
    """Roll back, and note who did it and why.

    Raises:
        ConfigError: none is live, or the version is not kept, or is live.
        BundleError: the version is damaged; what was live stays live.
        StorageError: the home cannot be written.
    """
    shelf = PlantMetaModels(settings, request.learner.value)
    before, now = shelf.roll_back(request.version, by=request.by, why=request.why or "")
    return RollBackMetaModelResult(learner=request.learner.value, live=now, rolled_back=before)
