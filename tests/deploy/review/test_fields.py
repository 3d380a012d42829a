"""What comes in as text, and means something or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

pytest.importorskip("fastapi", reason="the extra `pages` is not installed")

from deploy.review.fields import trail_key, trail_key_text


def test_a_place_in_the_trail_is_a_time_and_a_row() -> None:
    said_at = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    assert trail_key(trail_key_text(said_at, 7)) == (said_at, 7)
    assert trail_key("2026-01-02T05:04:05.000006+02:00~7") == (said_at, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02T03:04:05~7",
        "2026-01-02T03:04:05+00:00~x",
        "0001-01-01T00:00:00+14:00~7",
        "9999-12-31T23:59:59-12:00~7",
    ],
)
def test_any_other_place_in_the_trail_is_none(text: str) -> None:
    assert trail_key(text) is None
