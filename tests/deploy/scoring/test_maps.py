"""Anomaly maps of a scoring job, for other programs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deploy.scoring.maps import map_path, write_map
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


def test_a_name_that_is_used_again_keeps_the_maps_of_all_its_contents(settings: Settings, tmp_path: Path):
    request = ScoreRequest(line=LINE, images=tmp_path / "images", maps=tmp_path / "maps")
    reused, contents = tmp_path / "images" / "current.png", []
    for brightness in (60, 120, 180):
        write_image(reused, brightness=brightness, seed=brightness)
        contents.append(sha256(reused.read_bytes()).hexdigest())
        score.run(request, settings)
    second, third = contents[1:]
    names = ["current.png.tiff", f"current.png.{second[:12]}.tiff", f"current.png.{third[:12]}.tiff"]
    assert sorted(path.name for path in tmp_path.glob("maps/*.tiff")) == sorted(names)
    brightest = [float(tifffile.imread(tmp_path / "maps" / name).max()) for name in names]
    assert brightest == pytest.approx([60 / 255, 120 / 255, 180 / 255], abs=0.02)


@pytest.mark.parametrize("before", [b"no TIFF", b""])
def test_what_lies_in_a_maps_place_and_does_not_say_of_what_is_replaced(tmp_path: Path, before: bytes):
    path = tmp_path / "0.png.tiff"
    path.write_bytes(before)
    for _ in range(2):
        write_map(path, np.ones((2, 2), np.float32), "a" * 64)
    tifffile.imwrite(path, np.zeros((2, 2), np.float32))  # as before a map said which content it is of
    write_map(path, np.ones((2, 2), np.float32), "b" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png.tiff"]
    assert tifffile.imread(path).max() == 1


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
