"""A line adapted from what a caller holds: as `linewise adapt` does it from the same images in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from flows.adapt import job as adapt_job
from flows.adapt.request import AdaptRequest
from flows.score import job as score_job
from flows.score.request import ScoreRequest
from linewise import ConfigError, ImageError, Line
from pipeline.settings import Device, load_settings
from pipeline.synthetic.lines import write_line

SEEN = 48


def rgb(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


@pytest.mark.slow
def test_a_line_adapted_from_arrays_scores_as_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_line(tmp_path / "lines", 7, good=3, test_good=3, defects=3, size=96)
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    good = sorted((images / "train/good").glob("*.png"))
    masks = sorted((images / "ground_truth").rglob("*.png"))[:2]
    broken = {
        mask: next((images / "test" / mask.parent.name).glob(f"{mask.stem.removesuffix('_mask')}.png"))
        for mask in masks
    }
    line = Line.adapt(
        "bottling/caps",
        good=[rgb(good[0]), *good[1:]],
        defects=[rgb(path) for path in broken.values()],
        masks=[cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0 for mask in masks],
        device="cpu",
        learner="memory_bank",
        size=64,
        target_false_reject_rate=0.5,
    )
    manifest = Registry(tmp_path / "home").live("bottling/caps").manifest
    assert (len(manifest.support.good), len(manifest.support.defects), manifest.support.masks) == (3, 2, 2)
    assert line.version == manifest.version

    as_files = tmp_path / "files"
    for kind, paths in (("good", good), ("defect", broken.values()), ("masks", masks)):
        (as_files / kind).mkdir(parents=True)
        for number, path in enumerate(paths):
            (as_files / kind / f"{number:06}.png").write_bytes(path.read_bytes())
    asked = AdaptRequest.asked(
        line="files", images=as_files, learner="memory_bank", size=64, target_false_reject_rate=0.5
    )
    assert adapt_job.run(asked, load_settings()).threshold == line.threshold

    request = ScoreRequest(line="bottling/caps", images=str(images / "test"), device=Device.CPU, workers=2)
    score_job.run(request, load_settings())
    with ResultStore(load_settings().database) as store:
        rows = [(row, store.regions(row.bundle_id, row.image_sha256 or "")) for row in store.query()]
    assert len(rows) == 6
    for row, regions in rows:
        got = line.score(rgb(Path(row.image_path)))
        assert (got.score, got.decision, got.reason, got.p_value) == (row.score, row.decision, row.reason, row.p_value)
        assert (got.regions, got.size) == (regions, (row.image_height, row.image_width))
    assert any(regions for _, regions in rows)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"good": []}, "expected at least one good image"),
        ({"good": np.zeros((SEEN, SEEN, 3), np.uint8)}, r"expected a list of images, got uint8 \(48, 48, 3\)"),
        ({"good": "folder"}, "expected a list of images, got 'folder'"),
        (
            {"good": ["a.png"], "defects": ["b.png"], "masks": []},
            "expected a mask, or None, for each defect, got 0 for 1",
        ),
        ({"good": ["a.png"], "sise": 64}, "expected an option that --help lists, got sise: correct the name"),
        ({"good": ["a.png"], "size": 1}, "expected size to be greater than or equal to 64"),
        ({"good": ["a.png"], "line": "other"}, "pass the images alone"),
        ({"good": ["nowhere.png"]}, "got no such file in nowhere.png"),
    ],
)
def test_what_cannot_be_adapted_from_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], told: str
) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    with pytest.raises((ConfigError, ImageError), match=told) as raised:
        Line.adapt("bottling/caps", **arguments)
    assert "\n" not in str(raised.value)
