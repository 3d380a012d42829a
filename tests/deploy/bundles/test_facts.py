"""A manifest's facts are told once: whoever shows a bundle shows this list."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from deploy.bundles.card import render_card
from deploy.bundles.facts import all_facts
from deploy.bundles.manifest import BundleDraft, CalibrationRecord, ChoiceRecord, Int8Record
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.promise import Promise
from tests.parts.plant import make_draft


def full_draft() -> BundleDraft:
    """A draft that says everything a draft can."""
    int8 = Int8Record(
        float32_version="v1",
        float32_fingerprint="ab",
        good=9,
        defects=0,
        rank_correlation=0.99,
        auroc_float32=None,
        auroc_int8=None,
        good_shift=0.1,
        largest_difference=0.2,
        decisions_changed=1,
    )
    choice = ChoiceRecord(what="input size", chosen="512 px", evidence={"256 px": 3.07, "512 px": 4.21})
    return make_draft().model_copy(update={"int8": int8, "choices": (choice,)})


def test_each_fact_has_a_key_and_a_name_of_its_own() -> None:
    facts = all_facts(full_draft())
    for told in ([fact.key for fact in facts], [fact.name for fact in facts]):
        assert Counter(told).most_common(1)[0][1] == 1
    values = {fact.key: fact.value for fact in facts}
    assert values["reject"] == "2"
    assert values["choice.input size"] == "512 px, chosen from the support (evidence 4.21; 256 px 3.07)"
    assert values["metric.image_auroc"] == "0.9731"
    assert values["int8_origin"] == "ab; head, threshold and the differences above are version v1's"
    assert "AUROC" not in values["int8"]


def test_a_threshold_set_anew_is_not_the_float32_versions() -> None:
    again = CalibrationRecord(calibrated_from="v1-int8")
    values = {fact.key: fact.value for fact in all_facts(full_draft().model_copy(update={"calibration": again}))}
    assert values["int8_origin"] == "ab; head and the differences above are version v1's"


def test_the_card_tells_every_fact() -> None:
    card = render_card(full_draft())
    for fact in all_facts(full_draft()):
        assert f"| {fact.name} | " in card.replace("\\", ""), fact.key


def test_what_was_left_out_of_the_support() -> None:
    for left_out, told in (
        (None, None),
        ({}, ("nothing", False)),
        ({"equal to another": 3, "good not drawn": 1184}, ("3 equal to another, 1,184 good not drawn", True)),
    ):
        support = make_draft().support.model_copy(update={"left_out": left_out})
        facts = all_facts(make_draft().model_copy(update={"support": support}))
        found = {fact.key: (fact.value, fact.brief) for fact in facts}.get("left_out")
        assert found == told


def test_the_pattern_of_mosaics() -> None:
    preprocess = replace(make_draft().preprocess, bayer=BayerPattern.GRBG)
    values = {fact.key: fact.value for fact in all_facts(make_draft().model_copy(update={"preprocess": preprocess}))}
    assert values["input"].endswith("RGB, of Bayer mosaics GRBG")


def test_a_line_without_a_review_has_none() -> None:
    values = {fact.key: fact.value for fact in all_facts(make_draft(review=2.0))}
    assert values["review"] == "never"


def test_foreign_text_stays_in_its_cell() -> None:
    learner = make_draft().learner.model_copy(update={"config": {"a": "x`|\n# y"}})
    card = render_card(make_draft().model_copy(update={"learner": learner}))
    assert "| Settings | `a=x'\\| # y` |\n" in card


def test_unlabelled_images_and_what_the_threshold_promises() -> None:
    def told(**support: object) -> dict[str, str]:
        draft = make_draft()
        promise = Promise(lowest_rate=0.001, highest_rate=0.0234, known_defects=5, known_defects_passed=1)
        changes = {"support": draft.support.model_copy(update=support), "promise": promise}
        return {fact.key: fact.value for fact in all_facts(draft.model_copy(update=changes)) if fact.brief}

    good = make_draft().support.good
    found = told(taken_up=good[1:], not_taken_up=("a" * 64,))
    assert found["good"] == "1"
    assert found["unlabelled"] == f"{len(good) - 1} of {len(good)} taken up as good; the others look unlike them"
    assert told(taken_up=good[1:])["unlabelled"] == f"{len(good) - 1} of {len(good) - 1} taken up as good"
    assert "unlabelled" not in told()
    assert found["rate_interval"] == "0.10% to 2.34%, on nine lines of ten: watch the rejects"
    assert found["known_defects_passed"] == "1 of 5, each scored by a model that was not shown it"
    before = {fact.key for fact in all_facts(make_draft())}
    assert not before & {"rate_interval", "known_defects_passed", "unlabelled"}
