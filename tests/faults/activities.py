"""What is done while faults happen: the jobs themselves, as their commands run them. Preloaded for `children`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from flows.adapt import job as adapt_job
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.export import job as export_job
from flows.export.request import ExportRequest
from flows.meta_train import job as meta_train_job
from flows.meta_train.request import MetaTrainRequest
from flows.progress import Progress
from flows.score import job as score_job
from flows.score.request import ScoreRequest
from pipeline.settings import Device, Settings
from tests.faults.children import say

LINE = "plant/line"
SIZE = 256
STEPS = 120


def adapt(settings: Settings, images: Path, seed: int = 0) -> str:
    """Adapt a memory bank to two good images and make it live; the version."""
    request = AdaptRequest(
        line=LINE, images=images, learner=LearnerName.MEMORY_BANK, size=SIZE, good=2, defects=0, seed=seed
    )
    return adapt_job.run(request, settings).bundle.manifest.version


def score(settings: Settings, images: Path, watch: bool = False) -> Mapping[str, object]:
    """Score a folder; says how many images are committed, whenever it is told so. Returns the run's figures."""

    def tell(progress: Progress) -> None:
        say(progress.done)

    request = ScoreRequest(line=LINE, images=str(images), device=Device.CPU, workers=1, watch=watch)
    return score_job.run(request, settings, tell).figures()


def export(settings: Settings, destination: Path) -> None:
    """Pack the live version."""
    export_job.run(ExportRequest(line=LINE, destination=destination), settings)


def promote_in_turns(settings: Settings, versions: tuple[str, str], times: int) -> str:
    """Promote, so many times, the one of two versions that is not live, and roll every third promotion back; what is
    live then.
    """
    registry = Registry(settings.home)
    live = registry.live(LINE).manifest.version
    for number in range(times):
        other = versions[registry.live_version(LINE) == versions[0]]
        live = registry.promote(LINE, other, by="somebody", why="its turn").manifest.version
        if number % 3 == 2:
            live = registry.roll_back(LINE, by="somebody", why="its end").manifest.version
    return live


def meta_train(settings: Settings, lines: Path, run: Path, resume: bool) -> str:
    """Meta-train a learner for so many steps, with checkpoints at 100 and at the end; the meta-model's identifier."""
    request = MetaTrainRequest(
        lines=lines,
        learner=LearnerName.IN_CONTEXT,
        output=run,
        iterations=STEPS,
        good=2,
        defects=2,
        size=64,
        resume=resume,
    )
    return meta_train_job.run(request, settings).model.identifier


def open_store(url: str) -> None:
    """Open a result database, which brings its schema up to date."""
    with ResultStore(url):
        pass
