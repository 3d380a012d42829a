"""A plant of several lines, scored in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.engine.devices import resolve_device
from deploy.results.store import ResultStore
from deploy.scoring.plant import score_plant
from deploy.scoring.plant_summary import PlantSummary
from deploy.scoring.sources.folder import FolderSource
from tests.parts.plant import (
    bundle_files,
    head_graph,
    later_draft,
    make_draft,
    write_backbone,
    write_image,
    write_plant,
)

PILL, CAPS, CORKS = "mvtec/pill", "bottling/caps", "corks"
SCALES = {PILL: 1 / 255, CAPS: 0.5 / 255, CORKS: 1 / 255}


class WholePlant:
    """Three lines on two backbones, whose score is the brightest cell times SCALES, and a folder of twelve images."""

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / "images"
        self.registry = write_plant(root / "home")
        self.add(CAPS, "v1", scale=SCALES[CAPS])
        other = self.registry.add_backbone(write_backbone(root / "other", fingerprint="fedcba9876543210"))
        draft = make_draft(line=CORKS, spec=other.spec, onnx_sha256=other.onnx_sha256, review=0.4, reject=0.6)
        self.registry.add(draft, {**bundle_files(), "head.onnx": head_graph()})
        self.registry.promote(CORKS, "v1")
        for seed in range(12):
            line = (PILL, CAPS, CORKS)[seed % 3]
            write_image(self.images / line / "shift" / f"{seed}.png", brightness=20 * (seed + 1), seed=seed)

    def add(self, line: str, version: str, *, scale: float = 1 / 255, promote: bool = True) -> Path:
        draft = later_draft(self.registry, version, int(version.removeprefix("v")), line)
        bundle = self.registry.add(draft, {**bundle_files(), "head.onnx": head_graph(scale=scale)})
        if promote:
            self.registry.promote(line, version)
        return bundle.path

    def score(self, store: ResultStore, **options) -> PlantSummary:
        options = {"source": FolderSource(self.images), "workers": 2, **options}
        return score_plant(registry=self.registry, store=store, device=resolve_device("cpu"), **options)


def look_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at now and then is looked at all the time."""
    monkeypatch.setattr("deploy.scoring.reporting._PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("deploy.scoring.live_lines._LIST_SECONDS", 0.0)
    monkeypatch.setattr("deploy.scoring.live_lines._LIST_SHARE", float("inf"))
    monkeypatch.setattr("deploy.scoring.sources.watch._POLL_SECONDS", 0.01)
    monkeypatch.setattr("deploy.scoring.sink._COMMIT_SECONDS", 0.02)
