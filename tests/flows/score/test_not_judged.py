"""A part that the model cannot judge is counted and named on the pages, like every other that did not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.score import flow, job, plant_flow, plant_job, show
from flows.score.request import ScorePlantRequest, ScoreRequest
from flows.server.artifacts import Cell
from pipeline.settings import Device, load_settings
from tests.parts.html_page import Page
from tests.parts.plant import SIZE, bundle_files, log_head, make_draft, write_image, write_plant

LINE = "mvtec/pill"


@pytest.fixture
def images(home: Path, tmp_path: Path) -> Path:
    """A folder of a plant: of a live line one image passes, one is rejected, one has no finite score, one is torn."""
    registry = write_plant(home)
    (fingerprint,) = registry.backbones()
    sha256 = registry.backbone(fingerprint).onnx_sha256
    registry.add(
        make_draft(line=LINE, version="v2", onnx_sha256=sha256, review=-2, reject=-1),
        {**bundle_files(), "head.onnx": log_head()},
    )
    registry.promote(LINE, "v2")
    folder = tmp_path / "images"
    write_image(folder / LINE / "dim.png", brightness=20)
    write_image(folder / LINE / "bright.png", brightness=250)
    assert cv2.imwrite(str(folder / LINE / "black.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
    (folder / LINE / "torn.png").write_bytes(b"no image")
    return folder


def says_what_was_found(page: Page, name: str) -> None:
    for sentence in (
        "✕ REJECT 1 25.0% of the images",
        "? REVIEW 1 25.0% of the images",
        "✓ PASS 1 25.0% of the images",
        "! UNREADABLE 1",
        "NOT JUDGED 1",
        f"{name} REVIEW the model gave no finite score",
        "Histogram of 2 image scores: 1 pass, 0 review, 1 reject.",
    ):
        assert sentence in page.text + " ".join(tag.get("aria-label") or "" for tag in page.all("div")), sentence


def test_a_lines_report_counts_and_names_what_the_model_could_not_judge(images: Path) -> None:
    request = ScoreRequest(line=LINE, images=str(images / LINE), device=Device.CPU, workers=1)
    page = Page(job.run(request, load_settings()).report)
    says_what_was_found(page, "black.png")
    assert "Not shown" not in page.text, "it is named by itself"
    again = job.run(request, load_settings())
    assert again.summary.counts.skipped == 3
    says_what_was_found(Page(again.report), "black.png")


def test_so_does_its_page_in_a_plants_report(images: Path) -> None:
    result = plant_job.run(
        ScorePlantRequest(images=images, device=Device.CPU, workers=1, overlays=False), load_settings()
    )
    (address,) = {tag["href"] for tag in Page(result.report).all("a") if "_lines/" in (tag["href"] or "")}
    says_what_was_found(Page(result.report.parent / str(address).replace("%25", "%")), f"{LINE}/black.png")


@pytest.mark.parametrize("whole_plant", [False, True])
def test_the_table_of_flagged_images_of_a_flow_says_why(
    images: Path, monkeypatch: pytest.MonkeyPatch, whole_plant: bool
) -> None:
    tables: dict[str, Sequence[Mapping[str, Cell]]] = {}
    for module in (flow, plant_flow):  # outside a run of Prefect's nothing is published
        monkeypatch.setattr(module, "publish_table", lambda key, rows, _: tables.update({key: rows}))
    if whole_plant:
        plants = ScorePlantRequest(images=images, device=Device.CPU, workers=1)
        plant_flow.show(plants, plant_job.run(plants, load_settings()))
    else:
        lines = ScoreRequest(line=LINE, images=str(images / LINE), device=Device.CPU, workers=1)
        flow.show(job.run(lines, load_settings()))
    (rows,) = (table for key, table in tables.items() if "flagged" in key)
    assert [(row["decision"], row["score"] is None) for row in rows] == [("REVIEW", True), ("REJECT", False)]
    assert str(rows[0]["reason"]).startswith("the model gave no finite score")
    assert rows[1]["reason"] is None


def test_the_command_says_why_it_flags_an_image(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ScoreRequest(line=LINE, images=str(images / LINE), device=Device.CPU, workers=1)
    assert show.show(request, job.run(request, load_settings())) == 1
    assert "black.png: the model gave no finite score" in " ".join(capsys.readouterr().out.split())
