"""What a run shows in the UI: artifacts, their keys, pictures and figures."""

from __future__ import annotations

import base64
import dataclasses
import logging
import re

import cv2
import httpx
import numpy as np
import pytest

prefect = pytest.importorskip("prefect", reason="the extra `flows` is not installed")


import flows.adapt.flow  # noqa: E402
import flows.export.flow  # noqa: E402
import flows.meta_train.flow  # noqa: E402
import flows.score.flow  # noqa: E402
from deploy.reports.gallery import GalleryItem  # noqa: E402
from deploy.reports.overlay import encode_jpeg  # noqa: E402
from flows.progress import Progress  # noqa: E402
from flows.server import artifacts  # noqa: E402
from pipeline.calibration import Decision  # noqa: E402


@pytest.mark.parametrize(
    ("parts", "key"),
    [(("adapt", "LINE_A/7"), "adapt-line-a-7"), (("x", "Ünïcode"), "x-n-code"), (("", "--"), "linewise")],
)
def test_artifact_keys_are_what_prefect_takes(parts, key):
    assert artifacts.artifact_key(*parts) == key


def test_names_are_data_and_never_markup():
    assert artifacts.plain("a|b\n[x](y) <img> `c`") == r"a\|b\\n\[x\]\(y\) \<img\> \`c\`"


def test_gallery_inlines_small_pictures():
    rng = np.random.default_rng(0)
    jpeg = encode_jpeg(rng.integers(0, 255, (400, 300, 3), dtype=np.uint8))
    item = GalleryItem(name="a|b.png", score=1.25, decision=Decision.REJECT, image=jpeg, overlay=jpeg)
    markdown = artifacts.heat_map_gallery([item] * 20, {"a|b.png": "support:"})
    rows = markdown.splitlines()[2:]
    assert len(rows) == artifacts.MAX_PICTURES
    assert rows[0].startswith("| ![a b.png](data:image/jpeg;base64,")
    assert rows[0].endswith(r"| 1.250 | **REJECT** | *support:* a\|b.png |")
    encoded = re.findall(r"base64,([A-Za-z0-9+/=]+)\)", rows[0])
    assert len(encoded) == 2
    unlike = dataclasses.replace(item, reason="unlike the line")
    assert artifacts.heat_map_gallery([unlike, item]).splitlines()[4:] == ["", r"- a\|b.png: unlike the line"]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded[0]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape[:2]) == artifacts.THUMBNAIL_SIDE


def test_figures_are_readable():
    table = artifacts.figures_table({"a": 0.123456, "b": None, "c": True, "d": "x|y", "e": 3})
    assert [row.split(" | ")[0] for row in table.splitlines()[2:]] == ["| A", "| B", "| C", "| D", "| E"]
    assert [row.split(" | ", 1)[1] for row in table.splitlines()[2:]] == ["0.1235 |", "– |", "yes |", r"x\|y |", "3 |"]
    said = "leave-one-out prediction interval, on 6 scores of good images of the line"
    rows = [
        row.strip("| ") for row in artifacts.figures_table({"set by": said, "f": "/a/" + 80 * "b"}).splitlines()[2:]
    ]
    assert rows == [
        "Set by | leave-one-out prediction interval, on 6 scores",
        "of good images of the line",
        f"F | /a/{80 * 'b'}",
    ]


def test_losses_are_averaged_into_a_short_table():
    table = flows.meta_train.flow.loss_table(tuple(float(i) for i in range(120)))
    assert len(table) == 40
    assert table[0] == {"outer step": 3, "loss": 1.0}
    assert table[-1]["outer step"] == 120


def test_work_goes_on_while_the_server_is_away(monkeypatch, caplog):
    asked = []

    def refuse(**what):
        asked.append(what["description"])
        raise httpx.ConnectError("[Errno 111] Connection refused")

    monkeypatch.setattr(artifacts, "in_a_run", lambda: True)
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: logging.getLogger("a run"))
    monkeypatch.setattr(artifacts, "create_progress_artifact", refuse)
    show = artifacts.ProgressArtifact("progress", every=0.0)
    for done in range(100):
        show(Progress(stage="score", done=done))
    assert asked == ["score, 0 done"], "the server is asked again, and the work waits for it each time"
    monkeypatch.setattr(artifacts, "_AWAY_SECONDS", -1.0)
    show = artifacts.ProgressArtifact("progress", every=0.0)
    show(Progress(stage="score", done=1))
    show(Progress(stage="score", done=2))
    assert asked[1:] == ["score, 1 done", "score, 2 done"]
    told = "the Prefect server does not answer ([Errno 111] Connection refused): the work goes on"
    assert [record.getMessage() for record in caplog.records] == [told] * 2, "once for each time that it is away"
