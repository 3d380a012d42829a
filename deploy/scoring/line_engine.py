"""The engine that scores one line: its backbone and head, and those of its first look where it has one."""

from __future__ import annotations

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import FIRST_LOOK, FirstLookRecord
from deploy.bundles.packs import Deployment
from deploy.engine.devices import ResolvedDevice
from deploy.engine.runtime import ScoringEngine
from deploy.engine.two_looks import TwoLooksEngine

LineEngine = ScoringEngine | TwoLooksEngine


def line_engine(deployment: Deployment, device: ResolvedDevice) -> LineEngine:
    """Open what a deployment scores with; its head has the line's name. One CPU a call, which scales best.

    Raises:
        BundleError, DeviceError: as `ScoringEngine` says.
    """
    bundle = deployment.bundle
    line, first = bundle.manifest.line, bundle.manifest.first_look
    engine = ScoringEngine(deployment.backbone, device, threads=1)
    engine.add_head(line, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
    if first is None or deployment.first_backbone is None:
        return engine
    two = TwoLooksEngine(ScoringEngine(deployment.first_backbone, device, threads=1), engine)
    add_first_look(two, line, bundle, first)
    return two


def add_first_look(engine: TwoLooksEngine, name: str, bundle: Bundle, record: FirstLookRecord) -> None:
    """Register a bundle's first look under the name that its own head has in the engine."""
    engine.add_first_look(name, bundle.path / FIRST_LOOK, bundle.manifest.files[FIRST_LOOK], record.look)
