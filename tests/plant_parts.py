"""Parts that the tests of bundle, registry, results and scorer build from."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from deploy.bundle import (
    BackboneRecord,
    BundleDraft,
    LearnerRecord,
    LineageRecord,
    ParityRecord,
    SupportRecord,
)
from pipeline.calibration import Threshold
from pipeline.features import BackboneSpec, FeatureGroup, FeatureLevel
from pipeline.images import PreprocessSpec

SIZE = 32


def make_spec(*, size: int = SIZE, fingerprint: str = "0123456789abcdef") -> BackboneSpec:
    return BackboneSpec(
        name="average_pool",
        weights_sha256=hashlib.sha256(b"no weights").hexdigest(),
        weights_source="no weights at all",
        weights_licence="MIT",
        height=size,
        width=size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        levels=(FeatureLevel(stride=8, channels=3, height=size // 8, width=size // 8),),
        groups=(FeatureGroup(name="pool", level=0, start=0, stop=3),),
        fingerprint=fingerprint,
    )


def make_draft(
    *,
    line: str = "mvtec/pill",
    version: str = "v1",
    created_at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    onnx_sha256: str = "a" * 64,
    spec: BackboneSpec | None = None,
    review: float = 1.0,
    reject: float = 2.0,
    white_level: int | None = None,
) -> BundleDraft:
    spec = spec or make_spec()
    return BundleDraft(
        line=line,
        version=version,
        created_at=created_at,
        learner=LearnerRecord(name="memory_bank", config={"coreset": 256, "scales": [1, 2]}, meta_model=None),
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint, onnx_sha256=onnx_sha256),
        spec=spec,
        preprocess=PreprocessSpec(height=spec.height, width=spec.width, white_level=white_level),
        support=SupportRecord(good=("b" * 64, "c" * 64), defects=("d" * 64,), masks=1),
        threshold=Threshold(
            reject=reject,
            review=review,
            pixel=1.5,
            method="conformal",
            sample_count=48,
            target_false_reject_rate=0.01,
            expected_false_reject_rate=0.021,
        ),
        metrics={"image_auroc": 0.9731},
        parity=ParityRecord(max_score_error=3e-6, max_map_error=5e-6, tolerance=1e-3, images=8),
        lineage=LineageRecord(training_lines=("synthetic_1",), parent=None, seed=7),
    )


def bundle_files() -> dict[str, bytes | Path]:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(24, dtype=np.int32).reshape(6, 4))
    return {
        "head.onnx": bytes(range(256)) * 4,
        "bank_sources.npy": buffer.getvalue(),
        "support/000.jpg": b"first support image",
        "support/001.jpg": b"second support image",
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@contextmanager
def mounted_tmpfs(folder: Path, *, kilobytes: int, read_only: bool = False) -> Iterator[Path]:
    """A real file system of a few kilobytes; the test skips where mounting is not allowed."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root and mount(8)")
    folder.mkdir()
    options = f"size={kilobytes}k" + (",ro" if read_only else "")
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", folder]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not allowed here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, folder], check=True)
