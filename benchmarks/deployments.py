"""A line deployed to measure with: generated images, a memory bank adapted to them, and the engine that scores it.

Torch is loaded only to adapt, so that what scoring alone takes of memory can be measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from pipeline.settings import Settings, load_settings
from pipeline.synthetic.lines import write_line

LINE = "bench/line"


class DeployedLine(NamedTuple):
    """A line's images in the MVTec AD layout, and the home where its bundle is live."""

    images: Path
    settings: Settings

    @property
    def deployment(self) -> Deployment:
        """The live bundle; hashes every byte of it."""
        return Registry(self.settings.home).deployment(LINE)


def deployed_line(root: Path, *, seed: int = 7, side: int = 256, defects: int = 0) -> DeployedLine:
    """Generate a line of images `side` px square below `root`, and adapt to 4 good ones and so many defects."""
    images = write_line(root / "lines", seed, good=5, test_good=4, defects=6, size=side)
    settings = load_settings(root / "home")
    adapt_bank(images, settings, defects=defects)
    return DeployedLine(images, settings)


def adapt_bank(images: Path, settings: Settings, *, defects: int) -> float:
    """Adapt the memory bank to 4 good images of a folder, at 256 px, and make it live; seconds."""
    from flows.adapt import job  # noqa: PLC0415  # loads torch, whose memory is not scoring's

    request = AdaptRequest(line=LINE, images=images, learner=LearnerName.MEMORY_BANK, good=4, defects=defects, size=256)
    return job.run(request, settings).seconds


def engine_of(deployment: Deployment) -> ScoringEngine:
    """One thread of a CPU, with the line's head under its name."""
    engine, bundle = ScoringEngine(deployment.backbone, "cpu", threads=1), deployment.bundle
    engine.add_head(bundle.manifest.line, bundle.head_path, bundle.head_sha256)
    return engine
