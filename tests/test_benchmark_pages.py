"""A benchmark's command writes its own part of its page and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.study import BEGIN, END, replace_figures
from tests.checkout import REPOSITORY

PAGES = sorted(path for path in (REPOSITORY / "benchmarks").glob("*.md") if BEGIN in path.read_text())


def test_new_figures_leave_the_prose(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\nBefore.\n\n{BEGIN}\n\nold\n\n{END}\n\nAfter.\n")
    replace_figures(page, "| new |\n")
    assert page.read_text() == f"# Title\n\nBefore.\n\n{BEGIN}\n\n| new |\n\n{END}\n\nAfter.\n"
    page.write_text("prose only")
    with pytest.raises(ValueError, match="put them in"):
        replace_figures(page, "| new |")
    assert page.read_text() == "prose only"


def test_the_pages_have_one_place_for_figures(tmp_path: Path):
    pages = {
        "alignment",
        "auto",
        "backbones",
        "bank_budget",
        "camera_sizes",
        "cascade",
        "distilled",
        "drift",
        "faults",
        "fuzz",
        "gate_looks",
        "int8",
        "kinds",
        "large_images",
        "learning_curve",
        "learners",
        "least_area",
        "many_images",
        "memory_bank",
        "messages",
        "oblong",
        "plant_day",
        "plant_size",
        "promises",
        "region_of_interest",
        "repeated_parts",
        "regions",
        "rest",
        "rotation",
        "scale",
        "scale_out",
        "scenarios",
        "scoring",
        "shared_direction",
        "shrunken_defects",
        "soak",
        "straying",
        "thresholds",
        "toy_regression",
        "unlike",
        "verdicts",
        "vit",
        "weak_labels",
    }
    assert {page.stem for page in PAGES} == pages
    for page in PAGES:
        before, after = page.read_text().split(BEGIN)[0], page.read_text().split(END)[1]
        copy = tmp_path / page.name
        copy.write_text(page.read_text())
        replace_figures(copy, "figures")
        assert copy.read_text() == f"{before}{BEGIN}\n\nfigures\n\n{END}{after}"
