"""p-values, all the way: from the bundle to rows, store and report."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

from deploy.bundles.bundle import write_bundle
from deploy.bundles.manifest import CARD, BundleDraft
from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from deploy.scoring.image_result import FileStatus, ImageResult
from flows.score import job
from flows.score.flagged_rows import flagged_rows
from pipeline.settings import load_settings
from tests.flows.adapted_home import LINE, score_request


def test_every_score_has_its_p_value_also_where_it_was_scored_before(line: Path, adapted_home: Path) -> None:
    settings = load_settings()
    first, again = (job.run(score_request(line), settings) for _ in range(2))
    assert again.summary.counts.skipped == first.summary.counts.scored
    threshold = Registry(settings.home).live(LINE).manifest.threshold
    rows = [json.loads(result.json_path.read_text())["rows"] for result in (first, again)]
    assert rows[0] == rows[1]
    assert all(row["p_value"] == threshold.p_value(row["score"]) for row in rows[0])
    assert all(
        (row["p_value"] <= threshold.expected_false_reject_rate * (1 + 1e-9)) == (row["decision"] == "REJECT")
        for row in rows[0]
    )
    with first.csv_path.open(newline="") as file:
        assert [float(row["p_value"]) for row in csv.DictReader(file)] == [row["p_value"] for row in rows[0]]
    with ResultStore(settings.database) as store:
        assert {row.score: row.p_value for row in store.query()} == {row["score"]: row["p_value"] for row in rows[0]}
    assert ">p " in first.report.read_text()
    card = Registry(settings.home).live(LINE).card_path.read_text()
    assert "| p-value of a score | the share of good parts that score at least so high, told down to 0.0001% |" in card


def test_a_bundle_of_before_scores_without(line: Path, adapted_home: Path) -> None:
    settings = load_settings()
    registry = Registry(settings.home)
    bundle = registry.live(LINE)
    kept = bundle.manifest.model_dump(exclude={"files", "format_version"})
    draft = BundleDraft.model_validate(
        {**kept, "version": "before", "threshold": replace(bundle.manifest.threshold, tail=None)}
    )
    folder = bundle.path.with_name("before")
    write_bundle(folder, draft, {name: bundle.path / name for name in bundle.manifest.files if name != CARD})
    result = job.run(score_request(line, version="before"), settings)
    rows = json.loads(result.json_path.read_text())["rows"]
    assert {row["p_value"] for row in rows} == {None}
    assert ">p " not in result.report.read_text()


def test_the_table_of_flagged_images_has_them() -> None:
    result = ImageResult(name="a", path=None, sha256=None, status=FileStatus.SCORED, score=1.0, p_value=0.01)
    assert flagged_rows([result])[0]["p-value"] == 0.01
