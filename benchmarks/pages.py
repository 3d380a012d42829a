"""The pages beside the benchmarks: figures between two markers are a command's, the prose around them is ours."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

BEGIN, END = "<!-- figures: a command writes from here -->", "<!-- to here -->"


def made_today() -> str:
    """Date and commit, for the head of the figures."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout.strip()
    return f"{date.today().isoformat()}, commit {commit}"


def replace_figures(page: Path, figures: str) -> None:
    """Put new figures between a page's markers; everything else stays.

    Raises:
        ValueError: the page has no such place, or more than one.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"expected one {BEGIN} and one {END} in {page.name}, got another number: put them in")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}", encoding="utf-8")


def percent(values: Sequence[float]) -> str:
    """A table's cell: per cent, a dash where a metric is not defined."""
    return " / ".join("-" if math.isnan(value) else f"{100 * value:.1f}" for value in values)
