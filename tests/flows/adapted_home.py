"""A home folder with one adapted line, and scoring in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.adapt import job as adapt_job
from flows.adapt.request import AdaptRequest
from flows.score.request import ScoreRequest
from pipeline.settings import Device, load_settings

LINE = "Line_A/7"
SIZE = 64


def adapt_in_home(line: Path, home: Path) -> Path:
    """Register a bundle of a line's images in a home folder; return the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEWISE_HOME", str(home))
        result = adapt_job.run(AdaptRequest(line=LINE, images=line, size=SIZE, good=2, defects=2), load_settings())
    assert result.live
    assert (result.good, result.defects) == (2, 2)
    return home


def score_request(folder: Path, **changes: Any) -> ScoreRequest:
    """A request to score a folder's test images on one CPU."""
    return ScoreRequest(**({"line": LINE, "images": folder / "test", "device": Device.CPU, "workers": 1} | changes))
