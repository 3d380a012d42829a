"""Real parts of several views: the worst view decides, and no part passes unseen."""

from __future__ import annotations

import shutil
from pathlib import Path

from deploy.results.part_queries import parts_of
from deploy.results.store import ResultStore
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.score import job
from flows.score.request import ScoreRequest
from pipeline.calibration import Decision
from pipeline.product_lines.lines import load_line
from pipeline.settings import Device, load_settings

SEVERITY = {Decision.PASS: 0, Decision.REVIEW: 1, Decision.REJECT: 2, None: -1}


def test_of_three_pills_in_a_part_the_worst_decides(real_lines: Path, tmp_path: Path) -> None:
    folder, settings, images = (
        real_lines / "kaggle_pill" / "pill_edge",
        load_settings(tmp_path / "home"),
        tmp_path / "i",
    )
    adapt.run(AdaptRequest.asked(line="pill", images=folder, learner="memory_bank", size=128, good=8), settings)
    line, views = load_line(folder), ("top", "side", "bottom")
    images.mkdir()
    good, defects = iter(line.test_good), iter(line.defects[-3:])
    for part, chipped in enumerate((None, "top", "side", "bottom", None)):
        for view in views if part < 4 else views[:2]:
            record = next(defects if view == chipped else good)
            shutil.copy(record.path, images / f"{part}_{view}{record.path.suffix}")
    asked = {"parts": "{part}_{view}.*", "views": views, "device": Device.CPU, "workers": 1}
    result = job.run(ScoreRequest.asked(line="pill", images=str(images), **asked), settings)
    assert result.figures()["parts"] == 5
    with ResultStore(settings.database) as store:
        rows = {row.part: row for row in parts_of(store, "pill")}
        decided = {Path(row.image_path).stem: row for row in store.query()}
    for part, row in rows.items():
        of_part = {name: each for name, each in decided.items() if name.startswith(f"{part}_")}
        worst = max(of_part.values(), key=lambda each: (SEVERITY[each.decision], each.score))
        assert row.image_path == worst.image_path
        assert row.score == worst.score
        assert row.decision is worst.decision or (part == "4" and row.decision is Decision.REVIEW)
    assert [rows[part].worst_view for part in ("1", "2", "3")] == ["top", "side", "bottom"]
    assert all(rows[part].decision is not Decision.PASS for part in ("1", "2", "3"))
    assert rows["0"].decision is Decision.PASS
    assert rows["4"].views_missing == ["bottom"]
