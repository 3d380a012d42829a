"""The meta-models that ship with Linewise: what they are, and that nothing else is taken for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from model_zoo import shipped
from model_zoo.backbones.backbone import build_backbone
from model_zoo.learner_table import make_learner
from model_zoo.shipped import FOLDER, SHIPPED, shipped_meta_model
from pipeline.errors import BundleError


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_meta_model_fits_its_learner_and_the_default_backbone(name: str):
    model = shipped_meta_model(name)
    assert model is not None
    assert model.learner == name
    assert model.spec.fingerprint == build_backbone().spec.fingerprint
    assert all(line.startswith("synthetic_") for line in model.lines), "only what may be passed on"
    learner = make_learner(name, model.spec, outer_steps=model.outer_steps, pooled_steps=model.pooled_steps)
    fresh = {key: value.clone() for key, value in learner.state_dict().items()}
    learner.load_state_dict(model.weights)
    assert any(not torch.equal(value, fresh[key]) for key, value in learner.state_dict().items())
    has_fallback = model.calibration is not None and model.calibration.fallback is not None
    assert has_fallback == (learner.fallback is not None), "generated lines' thresholds are for the guarded alone"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_meta_model_is_small_and_its_card_says_how_good_it_is_on_real_lines(name: str):
    files = list((FOLDER / name).iterdir())
    assert {file.name for file in files} == {"card.md", "meta.json", "weights.safetensors"}
    assert sum(file.stat().st_size for file in files) < 1e6
    card = (FOLDER / name / "card.md").read_text()
    assert shipped_meta_model(name).identifier in card
    assert "## On real lines" in card
    assert "benchmarks.default_meta_model train" in card


def test_other_learners_have_none():
    assert shipped_meta_model("maml") is None


@pytest.mark.parametrize("file", ["meta.json", "weights.safetensors"])
def test_a_changed_file_is_refused(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(FOLDER, tmp_path / "copy")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "copy")
    path = tmp_path / "copy" / "in_context" / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"sha256|ships with Linewise"):
        shipped_meta_model("in_context")
    path.unlink()
    with pytest.raises(BundleError):
        shipped_meta_model("in_context")
