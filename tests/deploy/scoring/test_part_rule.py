"""A rule on a file's place: what it finds, and what it refuses."""

from __future__ import annotations

import pytest

from deploy.scoring.part_rule import parse_part_rule
from pipeline.errors import ConfigError

NAMED = ("top", "side", "bottom")


@pytest.mark.parametrize(
    ("pattern", "views", "path", "found"),
    [
        ("{part}_{view}.png", NAMED, "17_top.png", ("17", "top")),
        ("{part}_{view}.png", NAMED, "night/17_a_top.png", ("night/17_a", "top")),
        ("{part}/{view}.*", NAMED, "2026-03-01/17/side.bmp", ("2026-03-01/17", "side")),
        ("{view}/{part}.*", NAMED, "bottom/17.png", ("17", "bottom")),
        ("cam*/{part}_{view}.png", NAMED, "cam7/1_top.png", ("1", "top")),
        ("{part}_{view}.png", NAMED, "17_back.png", None),
        ("{part}_{view}.png", NAMED, "17_top.PNG", None),
        ("{part}_{view}.png", NAMED, "top.png", None),
        ("{part}_{view}.png", ("left", "top_left"), "17_top_left.png", ("17", "top_left")),
        ("{part}_{view}.png", ("3",), "a_17_x.png", ("a_17", "x")),
        ("{view}_{part}.png", ("3",), "x_17_a.png", ("17_a", "x")),
        ("{part} (+)_{view}.png", NAMED, "17 (+)_top.png", ("17", "top")),
        ("{part}_{view}.png", ("gro\u0308\u00dfe", "top"), "1_gr\u00f6\u00dfe.png", ("1", "gr\u00f6\u00dfe")),
        ("{part}_{view}.png", NAMED, "a\udcff_top.png", ("a\\xff", "top")),
    ],
)
def test_part_and_view_of_a_path(pattern: str, views: tuple[str, ...], path: str, found: object) -> None:
    assert parse_part_rule(pattern, views).find(path) == found


@pytest.mark.parametrize(
    ("pattern", "views"),
    [
        ("{part}.png", NAMED),
        ("{part}{view}.png", NAMED),
        ("{part}*{view}.png", NAMED),
        ("{part}_{view}_{view}.png", NAMED),
        ("{part}_{view}_{line}.png", NAMED),
        ("/{part}_{view}.png", NAMED),
        ("(?P<part>.*)_{view}.png", NAMED),
        ("*****{part}_{view}.png", NAMED),
        ("{part}_{view}.png", ("top",)),
        ("{part}_{view}.png", ("top", "top")),
        ("{part}_{view}.png", ("a/b", "top")),
        ("{part}_{view}.png", ("1",)),
    ],
)
def test_what_is_no_rule_is_refused_with_a_remedy(pattern: str, views: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="write"):
        parse_part_rule(pattern, views)


def test_what_is_missing_in_words() -> None:
    rule = parse_part_rule("{part}_{view}.png", NAMED)
    assert rule.missing_in_words({"top", "side"}) == "view bottom of top, side, bottom is missing"
    assert rule.missing_in_words({"side"}) == "views top, bottom of top, side, bottom are missing"
    assert rule.missing_in_words(set(NAMED)) is None
    assert (
        parse_part_rule("{part}_{view}.png", ("3",)).missing_in_words({"a"}) == "2 of 3 views are missing: only a came"
    )
