"""A pack: a line's bundle and backbone in a folder that scores on any machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from pipeline.errors import BundleError, StorageError
from tests.parts.plant import (
    SIZE,
    tree,
    write_backbone,
)

LINE = "mvtec/pill"


def test_a_pack_scores_on_another_machine(registry: Registry, tmp_path: Path) -> None:
    packed = registry.pack(LINE, tmp_path / "pack", version="v2")
    elsewhere = shutil.copytree(packed, tmp_path / "stick" / "pack")
    shutil.rmtree(registry.home)
    deployment = open_packed(elsewhere)
    assert deployment.bundle.manifest.version == "v2"
    engine = ScoringEngine(deployment.backbone, "cpu")
    engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
    scores = engine.score(LINE, np.full((1, SIZE, SIZE, 3), 51, dtype=np.uint8))
    assert scores.image_score == pytest.approx([0.2])


def test_a_pack_goes_into_another_registry_byte_for_byte(registry: Registry, tmp_path: Path) -> None:
    pack = registry.pack(LINE, tmp_path / "pack")
    other = Registry(tmp_path / "other")
    bundle = other.add_packed(pack)
    assert bundle.id == registry.live(LINE).id
    assert other.live_version(LINE) is None
    assert other.promote(LINE, "v1") == bundle
    with pytest.raises(StorageError, match="nothing is overwritten"):
        other.add_packed(pack)


def test_what_a_file_manager_leaves_in_a_pack_is_neither_read_nor_copied_on(registry: Registry, tmp_path: Path) -> None:
    pack = registry.pack(LINE, tmp_path / "pack")
    clean = tree(pack)
    for name in (
        ".DS_Store",
        "bundle/.DS_Store",
        "bundle/support/Thumbs.db",
        "backbone/._backbone.onnx",
        "desktop.ini",
    ):
        (pack / name).write_bytes(b"?")
    (pack / "bundle" / "@eaDir").mkdir()
    assert open_packed(pack).bundle.id == registry.live(LINE).id
    other = Registry(tmp_path / "other")
    other.add_packed(pack)
    assert tree(other.pack(LINE, tmp_path / "again", "v1")) == clean
    assert not [path for path in other.home.rglob("*") if path.name in (".DS_Store", "Thumbs.db", "desktop.ini")]


def test_packs_are_not_written_over_anything(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    registry.pack(LINE, tmp_path / "empty")
    before = tree(tmp_path / "empty")
    with pytest.raises(StorageError, match="nothing is overwritten"):
        registry.pack(LINE, tmp_path / "empty", "v2")
    assert tree(tmp_path / "empty") == before


@pytest.mark.parametrize("name", ["bundle/head.onnx", "bundle/manifest.json", "backbone/backbone.onnx"])
def test_one_changed_byte_in_a_pack_is_found(registry: Registry, tmp_path: Path, name: str) -> None:
    path = registry.pack(LINE, tmp_path / "pack") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=Path(name).name):
        open_packed(tmp_path / "pack")


def test_what_is_no_pack_says_so(registry: Registry, tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", registry.home):
        with pytest.raises(BundleError, match="linewise export"):
            open_packed(folder)
    pack = registry.pack(LINE, tmp_path / "pack")
    shutil.rmtree(pack / "backbone")
    write_backbone(pack / "backbone", fingerprint="fedcba9876543210")
    with pytest.raises(BundleError, match="fedcba9876543210"):
        open_packed(pack)


def test_a_backbone_that_is_described_otherwise_than_in_the_manifest_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    path = registry.pack(LINE, tmp_path / "pack") / "backbone" / "backbone.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "spec": {**whole["spec"], "weights_source": "another place"}}))
    open_packed(tmp_path / "pack")
    path.write_text(json.dumps({**whole, "spec": {**whole["spec"], "mean": [0.5, 0.5, 0.5]}}))
    with pytest.raises(BundleError, match=r"backbone\.json to describe the backbone as the manifest"):
        open_packed(tmp_path / "pack")
