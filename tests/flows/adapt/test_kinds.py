"""Kinds of defects all the way: named by folders, learned, carried by the bundle, told and shown."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.bundles.facts import all_facts
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.open_backbone import open_backbone
from flows.score import job as score
from linewise import Line
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import require_image
from pipeline.kinds import NONE_OF_THESE
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line
from tests.flows.adapted_home import score_request
from tests.flows.conftest import use_home
from tests.parts.html_page import Page

SIZE = 96


@pytest.fixture(scope="module")
def kinds_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of two kinds of defects, with masks."""
    written = write_line(tmp_path_factory.mktemp("lines"), 7, good=5, test_good=3, defects=12, size=96)
    kinds = [kind for kind, _ in Counter(r.kind for r in load_line(written).defects).most_common(2)]
    for folder in [*(written / "test").iterdir(), *(written / "ground_truth").iterdir()]:
        if folder.name not in (*kinds, "good"):
            shutil.rmtree(folder)
    return written


@pytest.fixture(scope="module")
def kinds_home(kinds_line: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEWISE_HOME", str(home))
        request = {
            "line": "caps",
            "images": kinds_line,
            "learner": "memory_bank",
            "size": SIZE,
            "good": 3,
            "defects": 4,
        }
        adapt.run(AdaptRequest.asked(**request), load_settings())
    return home


@pytest.fixture
def home(kinds_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_home(kinds_home, monkeypatch)


def names_of(line: Path) -> tuple[str, ...]:
    return tuple(sorted({record.kind for record in load_line(line).defects}))


def test_the_card_lists_the_kinds_and_how_well_they_are_told_apart(kinds_line: Path, home: Path) -> None:
    manifest, (first, second) = Registry(home).live("caps").manifest, names_of(kinds_line)
    assert manifest.kinds is not None
    assert manifest.kinds.images == (2, 2)
    facts = {fact.key: fact.value for fact in all_facts(manifest)}
    assert facts["kinds"] == f"{first} (2), {second} (2)"
    assert re.fullmatch(
        r"\d of 4 defects, by prototypes without them; 0 were called none of these", facts["kinds_told_apart"]
    )


def test_flagged_images_are_told_and_shown_with_their_kind(kinds_line: Path, home: Path) -> None:
    settings, said = load_settings(home), (*names_of(kinds_line), NONE_OF_THESE)
    result = score.run(score_request(kinds_line, line="caps", report=home / "report.html"), settings)
    rows = json.loads(result.json_path.read_text())["rows"]
    flagged = [row for row in rows if row["decision"] != "PASS" and row["reason"] is None]
    assert flagged
    assert all(
        row["kind"] in said and (row["kind_probability"] is None) == (row["kind"] == said[-1]) for row in flagged
    )
    assert all(row["kind"] is None for row in rows if row not in flagged)
    with result.csv_path.open() as file:
        assert [row["kind"] or None for row in csv.DictReader(file)] == [row["kind"] for row in rows]
    with ResultStore(settings.database) as store:
        assert {row.image_sha256: row.kind for row in store.query()} == {row["sha256"]: row["kind"] for row in rows}
    with Line.open("caps", device="cpu") as line:
        for row in flagged:
            again = line.score(kinds_line / "test" / row["path"])
            assert (again.kind, again.kind_probability) == (row["kind"], row["kind_probability"])
    adapted_from = Registry(home).live("caps").manifest.support.defects
    known = [row for row in flagged if Path(row["path"]).parent.name in said and row["sha256"] not in adapted_from]
    page = Page(result.report)
    assert f"Kinds of defects Of {len(known)} flagged image" in page.text
    skipped = score.run(score_request(kinds_line, line="caps", report=home / "again.html"), settings)
    assert [row["kind"] for row in json.loads(skipped.json_path.read_text())["rows"]] == [row["kind"] for row in rows]


def test_distances_to_kinds_are_those_of_torch_features(kinds_line: Path, home: Path) -> None:
    deployment, record = Registry(home).deployment("caps"), load_line(kinds_line).defects[0]
    kinds, pixels = deployment.bundle.kinds, require_image(record.path, deployment.bundle.manifest.preprocess).pixels
    assert kinds is not None
    module = open_backbone(DEFAULT_BACKBONE, SIZE, load_settings(home)).module
    engine = ScoringEngine(deployment.backbone, "cpu")
    exported = [level[0] for level in engine.features(pixels)]
    with torch.inference_mode():
        ours = [level[0].numpy() for level in module(torch.from_numpy(pixels[None]))]
    anomaly_map = np.random.default_rng(0).normal(size=exported[0].shape[1:]).astype(np.float32)
    one, other = (kinds.distances(levels, anomaly_map, 0.5) for levels in (exported, ours))
    np.testing.assert_allclose(one, other, atol=1e-4)
