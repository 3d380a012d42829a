"""A threshold set by hand: shown, tried, made live, and told as what it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from deploy.bundles.bundle import Bundle
from deploy.bundles.facts import all_facts
from deploy.bundles.registry import Registry
from deploy.bundles.threshold_versions import scoring_alike
from deploy.results.records import NewVerdict
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from flows.calibrate import job as calibrate_job
from flows.calibrate.request import CalibrateRequest
from flows.score import job as score_job
from flows.threshold import job
from flows.threshold.request import ThresholdRequest
from pipeline.calibration import Decision
from pipeline.errors import ConfigError
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line
from tests.flows.adapted_home import LINE, score_request
from tests.flows.command import Command, sentence


def live() -> Bundle:
    return Registry(load_settings().home).live(LINE)


def threshold(**asked: object) -> job.ThresholdResult:
    return job.run(ThresholdRequest.asked(line=LINE, **asked), load_settings())


@pytest.fixture
def scored_home(adapted_home, line):
    """Every test image scored; the good ones and the defects are known as such."""
    score_job.run(score_request(line), load_settings())
    with ResultStore(load_settings().database) as store:
        rows = store.query(line=LINE)
        store.add_verdicts(
            NewVerdict(
                LINE,
                row.image_path,
                row.image_sha256 or "",
                Verdict.GOOD if "/good/" in row.image_path else Verdict.DEFECTIVE,
            )
            for row in rows
        )
    return adapted_home


def test_what_was_foretold_is_what_scoring_then_does(scored_home, line) -> None:
    before = live()
    with ResultStore(load_settings().database) as store:
        scores = sorted(row.score for row in store.query(line=LINE) if row.score is not None)
    reject, review = scores[3] + 1e-6, scores[1] + 1e-6
    result = threshold(reject=reject, review=review, why="the line was moved", by="Ada")
    assert result.made is not None
    assert live().id == result.made.id
    counts = score_job.run(score_request(line), load_settings()).summary.counts
    foretold = result.choices[1].effect
    assert (counts.decisions[Decision.REJECT], counts.decisions[Decision.REVIEW]) == (
        foretold.rejected,
        foretold.reviewed,
    )
    assert foretold.images == len(scores)
    with ResultStore(load_settings().database) as store:
        old = store.query(line=LINE, bundle_id=before.id)
        new = store.query(line=LINE, bundle_id=result.made.id)
    assert {row.reject_threshold for row in old} == {before.manifest.threshold.reject}, "the past stays as it was"
    assert {row.image_sha256: row.p_value for row in old} == {row.image_sha256: row.p_value for row in new}
    again = threshold()
    assert again.images == len(scores), "rows of both versions: each content once"
    assert again.choices[0].effect == foretold


def test_the_version_says_who_and_why_and_promises_nothing(scored_home) -> None:
    before = live()
    now = datetime.now(UTC)
    made = threshold(reject=0.5, why="  holes were missed ", by="Ada").made
    assert made is not None
    manifest, record = made.manifest, made.manifest.lineage.set_by_hand
    assert record is not None
    assert (record.set_from, record.why, record.by) == (before.manifest.version, "holes were missed", "Ada")
    assert timedelta(0) <= record.at - now < timedelta(minutes=5)
    assert (record.reject_before, record.review_before) == (
        before.manifest.threshold.reject,
        before.manifest.threshold.review,
    )
    assert manifest.lineage.parent == before.manifest.version
    assert manifest.promise is None
    assert manifest.threshold.expected_false_reject_rate is None
    assert manifest.threshold.tail == before.manifest.threshold.tail
    assert made.head_sha256 == before.head_sha256
    assert scoring_alike(Registry(load_settings().home), made) == tuple(sorted((before.id, made.id)))
    facts = {fact.key: fact for fact in all_facts(manifest)}
    assert facts["threshold_method"].value.startswith("a person, Ada, 20")
    assert facts["set_by_hand_why"].value == "holes were missed"
    assert facts["p_value"].value == {f.key: f.value for f in all_facts(before.manifest)}["p_value"]
    promised = {"target_false_reject_rate", "rate_interval", "rate_shown", "expected_false_reject_rate", "more_images"}
    assert promised <= {fact.key for fact in all_facts(before.manifest)} | {"more_images"}
    assert not promised & facts.keys()
    card = made.card_path.read_text()
    assert "| Set by | a person, Ada, 20" in card
    assert "- A person set its threshold. No rate of rejected good parts or of missed defects is\n  promised" in card
    assert "It was calibrated on" not in card


def test_calibrating_later_takes_the_hand_away(scored_home, tmp_path) -> None:
    target = live().manifest.threshold.target_false_reject_rate
    threshold(reject=0.5, why="to try")
    images = write_line(tmp_path, 7, good=5, test_good=12, defects=2, size=96)
    made = calibrate_job.run(CalibrateRequest(line=LINE, images=images), load_settings()).bundle.manifest  # type: ignore[call-arg]
    assert made.lineage.set_by_hand is None
    assert made.threshold.target_false_reject_rate == target
    assert made.promise is not None


def test_a_dry_run_and_a_look_change_nothing(scored_home) -> None:
    before = live()
    look, tried = threshold(), threshold(reject=0.1, dry_run=True)
    assert look.made is tried.made is None
    assert live().id == before.id
    assert len(Registry(load_settings().home).versions(LINE)) == 1
    today, asked = tried.choices
    assert today.effect == look.choices[0].effect
    assert asked.effect.rejected >= today.effect.rejected
    assert asked.effect.limits.review == 0.1, "REVIEW comes down with REJECT"


def test_the_command_shows_sets_and_tells(linewise: Command, scored_home) -> None:
    code, out, _ = linewise("threshold", LINE)
    assert code == 0
    assert "people call 4 of them good and 6 defective" in out
    assert "today" in out
    assert "no known" in out
    code, out, _ = linewise("threshold", LINE, "--reject", "0.5", "--why", "[bold] holes", "--by", "Ada")
    assert code == 0
    assert "live, its threshold set by hand" in out
    assert "Why: [bold] holes" in out
    code, out, _ = linewise("threshold", LINE, "--hours", "0.000001")
    assert (code, "nothing to compare thresholds by" in out) == (0, True)
    manifest = json.loads((live().path / "manifest.json").read_text())
    assert manifest["lineage"]["set_by_hand"]["by"] == "Ada"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reject", "0.5"], "expected why the threshold is set by hand, got no reason"),
        (["--review", "0.5"], "expected review beside reject, got review alone"),
        (["--reject", "0.5", "--review", "0.6", "--why", "x"], "expected review to be at most reject, got 0.6 and 0.5"),
        (["--reject", "nan", "--why", "x"], "expected reject to be a finite number"),
        (["--reject", "0.5", "--why", " "], "expected why to have at least 1 character"),
    ],
)
def test_mistakes_are_sentences_and_nothing_is_set(linewise: Command, adapted_home, arguments, words) -> None:
    code, _, error = linewise("threshold", LINE, *arguments)
    assert code == 2
    assert words in sentence(error)
    assert len(Registry(load_settings().home).versions(LINE)) == 1


def test_todays_threshold_again_is_refused(adapted_home) -> None:
    today = live().manifest.threshold
    with pytest.raises(ConfigError, match="another threshold than today's"):
        threshold(reject=today.reject, why="x")
