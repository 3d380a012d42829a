"""What a support chooses among candidates, by their evidence."""

from __future__ import annotations

from pipeline.learner import Choice


def test_the_first_is_kept_unless_another_leads_by_enough() -> None:
    assert Choice(what="size", evidence={"a": 1.0, "b": 1.0}).chosen == "a"
    assert Choice(what="size", evidence={"a": 1.0, "b": 1.1}).chosen == "b"
    assert Choice(what="backbone", evidence={"a": 1.0, "b": 1.4}, lead=0.5).chosen == "a"
    assert Choice(what="backbone", evidence={"a": 1.0, "b": 1.4, "c": 1.6}, lead=0.5).chosen == "c"
