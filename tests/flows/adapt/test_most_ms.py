"""The networks and input sizes that a line may choose from, by the time they take."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.open_backbone import open_backbone
from flows.views import within_time
from pipeline.errors import ConfigError
from pipeline.settings import load_settings


def test_backbones_that_take_longer_are_left_out(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "home")
    small, large = (open_backbone("tf_efficientnet_lite0", size, settings) for size in (64, 256))
    between = (small.milliseconds() + large.milliseconds()) / 2  # sixteen times the pixels
    assert within_time([large, small], between) == [small]
    assert within_time([large, small], None) == [large, small]
    with pytest.raises(ConfigError, match=r"at most 0\.001 ms an image on this machine's CPU, got .* for the fastest"):
        within_time([large, small], 0.001)
