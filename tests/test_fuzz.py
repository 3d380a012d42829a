"""A few hundred of the fuzzer's inputs, in processes with limits, and what the fuzzer itself must see."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.scoring.sources.address import is_url, stream_address
from pipeline.errors import LinewiseError
from tests.fuzz import bad_surfaces, campaign
from tests.fuzz.campaign import Finding, input_of, run_campaign
from tests.fuzz.image_surfaces import png_problem, specimens
from tests.fuzz.mutations import truncated
from tests.fuzz.surfaces import SURFACES

HEAVY = {"meta-models", "own weights", "reports", "line folders"}


@pytest.mark.slow
def test_a_sample_of_every_light_surface_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_MAX_PIXELS", str(campaign.MAX_PIXELS))
    light = {name: surface for name, surface in SURFACES.items() if name not in HEAVY}
    news = list(run_campaign(light, seed=1, inputs=1500, workers=1))
    assert not [found for found in news if isinstance(found, Finding)]
    assert sum(tally.inputs for name, tally in (said for said in news if not isinstance(said, Finding))) >= 1400


@pytest.mark.parametrize("name", SURFACES)
def test_an_input_can_be_made_again(name: str) -> None:
    """Whatever was made before it: an input that only a long run can make cannot be looked into."""
    first = [input_of(SURFACES[name], 7, number) for number in range(12)]
    again = [input_of(SURFACES[name], 7, number) for number in reversed(range(12))]
    assert repr(first) == repr(again[::-1])


@pytest.mark.slow
def test_an_input_that_ends_its_process_is_a_finding_and_the_others_go_on() -> None:
    news = list(run_campaign(bad_surfaces.SURFACES, seed=0, inputs=9, workers=1, table=bad_surfaces.__name__))
    found = {(finding.surface, finding.number): finding.kind for finding in news if isinstance(finding, Finding)}
    assert found == {("abort", 1): "crash", ("loop", 1): "hang", ("eat", 1): "memory"}


def test_a_picture_that_lost_rows_is_told_by_the_fuzzer() -> None:
    whole = specimens()["png_noisy"]
    assert png_problem(whole) is None
    assert png_problem(truncated(whole, Random(1)) + b"\0\0\0\0IEND\xaeB`\x82") is not None


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="/@"), min_size=4))
@settings(max_examples=200, deadline=None)
def test_no_address_shows_its_password(rest: str, password: str) -> None:
    text = f"rtsp://user:{password}@camera7/{rest}"
    if not is_url(text):
        return
    try:
        address = stream_address(text)
    except LinewiseError as error:
        assert password not in str(error) or password in rest or password in "a stream's URL"
        return
    assert password not in address.shown or password in f"rtsp://camera7/{rest}"
