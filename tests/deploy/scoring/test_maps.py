"""Anomaly maps of a scoring job, for other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deploy.scoring.maps import map_path
from flows.score import job as score
from flows.score.request import ScoreRequest
from pipeline.errors import ConfigError
from pipeline.settings import Settings, load_settings
from tests.parts.plant import write_image, write_plant

LINE = "mvtec/pill"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_plant(tmp_path / "home")
    for index in range(2):
        write_image(tmp_path / "images" / "shift_1" / f"{index}.png", brightness=60 + index, seed=index)
    (tmp_path / "images" / "notes.png").write_bytes(b"no pixels")
    return load_settings(tmp_path / "home")


def test_every_scored_image_has_its_map_under_its_own_path(settings: Settings, tmp_path: Path):
    score.run(ScoreRequest(line=LINE, images=tmp_path / "images", maps=tmp_path / "maps"), settings)
    written = sorted(path.relative_to(tmp_path / "maps").as_posix() for path in tmp_path.glob("maps/**/*.tiff"))
    assert written == ["shift_1/0.png.tiff", "shift_1/1.png.tiff"]
    first, second = (tifffile.imread(tmp_path / "maps" / name) for name in written)
    assert first.dtype == np.float32
    assert first.shape == (4, 4)
    assert float(second.max()) == pytest.approx(61 / 255, abs=0.02)  # the graph's map: its brightest channel
    assert float(second.max()) > float(first.max())


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("a/b.png", "a/b.png.tiff"),
        ("../../b.png", "__/__/b.png.tiff"),
        ("/disk/b.png", "disk/b.png.tiff"),
        ("clip.avi#12", "clip.avi#12.tiff"),
        ("rtsp://cam7:554/1#12", "rtsp:/cam7:554/1#12.tiff"),
    ],
)
def test_no_name_of_a_source_climbs_out_of_the_folder_of_maps(name: str, below: str):
    assert map_path(Path("maps"), name) == Path("maps") / below


def test_maps_below_the_scored_folder_are_refused(settings: Settings, tmp_path: Path):
    request = ScoreRequest(line=LINE, images=tmp_path / "images", maps=tmp_path / "images" / "maps")
    with pytest.raises(ConfigError, match="outside"):
        score.run(request, settings)
    assert not list(tmp_path.glob("images/**/*.tiff"))
