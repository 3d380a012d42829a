"""Kinds of defects all the way: named by folders and people, carried by the bundle, told and shown."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from deploy.bundles.facts import all_facts
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from deploy.results.records import NewVerdict
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from flows.open_backbone import open_backbone
from flows.score import job as score
from flows.threshold import job as threshold
from flows.threshold.request import ThresholdRequest
from linewise import Line
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import require_image
from pipeline.kinds import NONE_OF_THESE
from pipeline.product_lines.lines import load_line
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from tests.flows.adapted_home import LINE, SIZE, score_request
from tests.parts.html_page import Page

KINDS = ("misplaced_part", "missing_part")  # of the two defects that the line was adapted from


def test_the_card_lists_the_kinds_and_how_well_they_are_told_apart(adapted_home: Path) -> None:
    facts = {fact.key: fact.value for fact in all_facts(Registry(adapted_home).live(LINE).manifest)}
    assert facts["kinds"] == "misplaced_part (1), missing_part (1)"
    assert facts["kinds_told_apart"] == "not measured: that takes two images of a kind"


def test_flagged_images_are_told_and_shown_with_their_kind(line: Path, adapted_home: Path) -> None:
    settings, named = load_settings(adapted_home), next((line / "test" / "blur").iterdir())
    threshold.run(ThresholdRequest(line=LINE, reject=-1000, why="so that every image is flagged"), settings)
    with ResultStore(settings.database) as store:
        said = NewVerdict(LINE, str(named), sha256_file(named), Verdict.DEFECTIVE, kind="blur")
        store.add_verdicts([said])
    result = score.run(score_request(line, report=adapted_home / "report.html"), settings)
    rows = json.loads(result.json_path.read_text())["rows"]
    flagged = [row for row in rows if row["reason"] is None]
    assert len(flagged) > 5
    for row in flagged:
        assert row["kind"] in (*KINDS, NONE_OF_THESE)
        assert (row["kind_probability"] is None) == (row["kind"] == NONE_OF_THESE)
    assert all(row["kind"] is None for row in rows if row not in flagged)
    with result.csv_path.open() as file:
        assert [row["kind"] or None for row in csv.DictReader(file)] == [row["kind"] for row in rows]
    with ResultStore(settings.database) as store:
        assert {row.image_sha256: row.kind for row in store.query()} == {row["sha256"]: row["kind"] for row in rows}
    with Line.open(LINE, device="cpu") as opened:
        again = opened.score(line / "test" / flagged[0]["path"])
        assert (again.kind, again.kind_probability) == (flagged[0]["kind"], flagged[0]["kind_probability"])
    text = Page(result.report).text
    support = Registry(adapted_home).live(LINE).manifest.support.defects
    known = [row for row in flagged if row["sha256"] not in support and not row["path"].startswith("good/")]
    right = sum(row["kind"] == Path(row["path"]).parent.name for row in known)
    assert f"Of {len(known)} flagged images the kind is known, by their folder or a person's word; {right} " in text
    unknown = {Path(row["path"]).parent.name for row in known} - set(KINDS)
    assert len(unknown) > 1
    table = text[text.index("Known kind misplaced_part missing_part none of these") :]
    for kind in unknown:
        told = Counter(row["kind"] for row in known if Path(row["path"]).parent.name == kind)
        assert f" {kind} {' '.join(str(told[name] or '·') for name in (*KINDS, NONE_OF_THESE))}" in table
    skipped = score.run(score_request(line, report=adapted_home / "again.html"), settings)
    assert [row["kind"] for row in json.loads(skipped.json_path.read_text())["rows"]] == [row["kind"] for row in rows]


def test_distances_to_kinds_are_those_of_torch_features(line: Path, adapted_home: Path) -> None:
    deployment, record = Registry(adapted_home).deployment(LINE), load_line(line).defects[0]
    kinds, pixels = deployment.bundle.kinds, require_image(record.path, deployment.bundle.manifest.preprocess).pixels
    assert kinds is not None
    module = open_backbone(DEFAULT_BACKBONE, SIZE, load_settings(adapted_home)).module
    exported = [level[0] for level in ScoringEngine(deployment.backbone, "cpu").features(pixels)]
    with torch.inference_mode():
        of_torch = [level[0].numpy() for level in module(torch.from_numpy(pixels[None]))]
    anomaly_map = np.random.default_rng(0).normal(size=exported[0].shape[1:]).astype(np.float32)
    one, other = (kinds.distances(levels, anomaly_map, 0.5) for levels in (exported, of_torch))
    np.testing.assert_allclose(one, other, atol=1e-4)
