"""`--missed-defects`, all the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bundles.facts import all_facts
from flows.adapt import job
from flows.adapt.new_lines import request_for
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.calibrate.request import CalibrateRequest
from pipeline.errors import ConfigError
from pipeline.settings import load_settings
from tests.flows.adapted_home import SIZE


def request(line: Path, **changes: object) -> AdaptRequest:
    return AdaptRequest.asked(line="caps", images=line, size=SIZE, **changes)


def test_the_threshold_is_that_of_the_known_defects_and_its_cost_is_told(line: Path, home: Path) -> None:
    bundle = job.run(request(line, missed_defects=0.25), load_settings()).bundle
    threshold, promise = bundle.manifest.threshold, bundle.manifest.promise
    assert promise is not None
    assert threshold.target_missed_defect_rate == 0.25
    assert (promise.known_defects, promise.known_defects_passed) == (6, 0), "the lowest of six is the limit"
    assert threshold.expected_false_reject_rate == threshold.p_value(threshold.reject)
    told = {fact.key: fact.value for fact in all_facts(bundle.manifest) if fact.brief}
    assert told["target_missed_defect_rate"].startswith("at most 25.00% of defects like yours")
    assert {"rate_interval", "expected_false_reject_rate", "known_defects_passed"} <= told.keys()
    assert "target_false_reject_rate" not in told
    assert "Defects not rejected, asked for" in bundle.card_path.read_text()


def test_a_share_that_the_defects_cannot_promise_is_refused_before_the_work(line: Path, home: Path) -> None:
    settings = load_settings()
    with pytest.raises(ConfigError, match=r"at least 9 known defects .*, got 6, which can promise 0\.14 at best"):
        job.run(request(line, missed_defects=0.1), settings)
    with pytest.raises(ConfigError, match=r"at least 9 known defects .*, got none"):
        job.run(request(line, missed_defects=0.1, defects=0), settings)


def test_a_learner_that_cannot_hold_defects_out_is_refused(line: Path, home: Path) -> None:
    with pytest.raises(ConfigError, match=r"a learner whose known defects can be held out"):
        job.run(request(line, missed_defects=0.25, learner="transfer"), load_settings())


def test_two_rates_are_one_too_many(line: Path) -> None:
    for ask in (AdaptRequest.asked, CalibrateRequest.asked):
        with pytest.raises(ConfigError, match="either target-false-reject-rate or missed-defects"):
            ask(line="caps", images=line, missed_defects=0.25, target_false_reject_rate=0.02)
    forms = AdaptNewLinesRequest(missed_defects=0.25)  # which send every default
    assert request_for(forms, line).missed_defects == 0.25
