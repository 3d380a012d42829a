"""The pages of options say what the requests say."""

from __future__ import annotations

from flows.activities import ACTIVITIES
from flows.terminal.option_tables import option_tables, with_tables
from tests.checkout import REPOSITORY


def test_the_page_has_todays_options():
    page = (REPOSITORY / "docs" / "options.md").read_text(encoding="utf-8")
    assert page == with_tables(page), "run python -m flows.terminal.option_tables docs/options.md"


def test_every_field_has_a_row():
    tables = option_tables()
    for activity in ACTIVITIES:
        assert f"linewise {activity.command}" in tables
    assert "| `--promote/--no-promote` | Make the new version live for its line (default: yes). |" in tables
    assert "| `--output -o` | Run folder" in tables
    assert tables.count("<details>") == len(ACTIVITIES)
