"""Which versions of a line go, and that they go whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.bundles.manifest import CalibrationRecord, LineageRecord
from deploy.bundles.registry import Registry
from deploy.bundles.retired_versions import remove_retired, retired_versions
from deploy.engine.backbone_artefact import load_backbone_artefact
from tests.parts.plant import bundle_files, make_draft, write_backbone

LINE = "mvtec/pill"


@pytest.fixture
def registry(tmp_path) -> Registry:
    """Ten versions, v0 the oldest; v3 was live before v5."""
    registry = Registry(tmp_path / "home")
    backbone = registry.add_backbone(write_backbone(tmp_path / "backbone"))
    for number in range(10):
        draft = make_draft(
            version=f"v{number}",
            created_at=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(days=number),
            onnx_sha256=load_backbone_artefact(backbone.folder).onnx_sha256,
            spec=backbone.spec,
        )
        if number == 9:
            draft = draft.model_copy(update={"calibration": CalibrationRecord(calibrated_from="v2")})
        if number == 8:
            draft = draft.model_copy(update={"lineage": LineageRecord(parent="v6")})
        registry.add(draft, bundle_files())
    registry.promote(LINE, "v3")
    registry.promote(LINE, "v5")
    return registry


def names(registry: Registry) -> list[str]:
    return [record.version for record in registry.versions(LINE)]


def test_what_is_live_was_live_is_named_or_in_use_stays(registry) -> None:
    in_use = {registry.bundle(LINE, "v1").id}
    retired = retired_versions(registry, LINE, 2, in_use)
    assert [record.version for record in retired] == ["v0", "v4", "v7"]
    assert len(names(registry)) == 10, "it only tells"
    assert remove_retired(registry, LINE, 2, lambda: in_use) == retired
    assert names(registry) == ["v1", "v2", "v3", "v5", "v6", "v8", "v9"]
    assert remove_retired(registry, LINE, 2, lambda: in_use) == []
    assert registry.roll_back(LINE).manifest.version == "v3"


def test_a_damaged_version_is_left_to_a_person(registry) -> None:
    (registry.bundle(LINE, "v0").path / "manifest.json").write_text("{}")
    assert "v0" not in [record.version for record in retired_versions(registry, LINE, 1, ())]


def test_what_a_killed_housekeeper_left_is_swept(registry) -> None:
    folder = registry.bundle(LINE, "v0").path
    folder.rename(folder.with_name(".v0.0123abcd.partial"))
    assert "v0" not in names(registry)
    remove_retired(registry, LINE, 10, tuple)
    assert not list(folder.parent.glob("*.partial"))


def test_fewer_versions_than_are_kept_all_stay(registry) -> None:
    assert retired_versions(registry, LINE, 20, ()) == []
