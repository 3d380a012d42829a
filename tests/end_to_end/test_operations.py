"""Every command of docs/operations.md runs; see `tests.parts.page_commands`."""

from pathlib import Path

import pytest

from tests.checkout import REPOSITORY
from tests.parts.page_commands import TIME_LIMIT, command_blocks, run_in_order, targets_and_tests_that_are_missing

PAGE = REPOSITORY / "docs" / "operations.md"


@pytest.mark.end_to_end
@pytest.mark.timeout(TIME_LIMIT + 30)
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    folder = tmp_path / "an operator's folder"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    status, output = run_in_order(command_blocks(PAGE.read_text(encoding="utf-8")), folder, PAGE.name)
    assert status == 0, output[-8000:]


def test_what_is_not_run_names_real_tests() -> None:
    assert targets_and_tests_that_are_missing(PAGE) == []


def test_the_page_has_a_section_for_each_duty() -> None:
    sections = [line[3:] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    duties = ["Install", "Upgrade", "Back up", "Restore", "Secure", "Monitor", "Troubleshoot", "Housekeeping"]
    assert sections == duties
