"""A line that is looked at twice: cheaply first, and in full where that leaves doubt."""

from __future__ import annotations

from pathlib import Path

from deploy.bundles.manifest import FIRST_LOOK, BackboneRecord, BundleDraft, FirstLookRecord, ParityRecord
from deploy.bundles.registry import Registry
from pipeline.first_look import FirstLook
from tests.parts.plant import bundle_files, head_graph, make_draft, make_spec, write_backbone

LINE, OWN, FIRST = "mvtec/pill", "0123456789abcdef", "fedcba9876543210"
LIMIT = 0.15
"""Of the first look's score, which is half of the second's."""


def write_two_looks(root: Path) -> Registry:
    """A home with a live line of an input of 64 px, whose first look sees 32 px."""
    registry = Registry(root / "home")
    own = registry.add_backbone(write_backbone(root / "own", size=64, fingerprint=OWN))
    first = registry.add_backbone(write_backbone(root / "first", size=32, fingerprint=FIRST))
    kept = make_draft(spec=own.spec, onnx_sha256=own.onnx_sha256, review=0.4, reject=0.6).model_dump()
    record = FirstLookRecord(
        backbone=BackboneRecord(name=first.spec.name, fingerprint=FIRST, onnx_sha256=first.onnx_sha256),
        spec=make_spec(size=32, fingerprint=FIRST),
        look=FirstLook(limit=LIMIT, distance=1.0, doubted=0.05, middle=0, slope=2, second_middle=0, most=0.39),
        parity=ParityRecord(max_score_error=0.0, max_map_error=0.0, tolerance=1e-3, images=8),
    )
    draft = BundleDraft.model_validate({**kept, "first_look": record})
    files = {"head.onnx": head_graph(size=64), FIRST_LOOK: head_graph(scale=0.5 / 255)}
    registry.add(draft, {**bundle_files(), **files})
    registry.promote(LINE, draft.version)
    return registry
