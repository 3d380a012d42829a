"""Images over HTTP: decided by the live bundle, as the folder path decides them."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from deploy.engine.devices import ResolvedDevice
from deploy.engine.runtime import ScoringEngine
from deploy.results.schema import RunStatus
from deploy.results.store import ResultStore
from pipeline.calibration import Decision
from tests.deploy.rest.rest_server import RestServer, running
from tests.parts.plant import bundle_files, head_graph, later_draft, make_draft, write_image
from tests.parts.whole_plant import CAPS, CORKS, PILL, WholePlant

TOKEN = "a long random text"  # of this test


def test_an_image_gets_its_decision(server: RestServer, bright: Path, tmp_path: Path) -> None:
    answer = server.score(PILL, bright)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    told = answer.json
    assert (told["line"], told["version"], told["decision"], told["score"]) == (PILL, "v1", "REJECT", 1.0)
    assert (told["height"], told["width"], told["regions"], told["map"]) == (48, 48, [], None)
    dark = server.score(PILL, write_image(tmp_path / "dark.png", brightness=20)).json
    assert dark["decision"] == "PASS"
    assert server.score(CAPS, bright).json["score"] == 0.5  # its head halves it
    assert server.score(CORKS, bright).json["decision"] == "REJECT"  # on a backbone of its own


def test_a_name_with_slashes_stands_in_the_path_either_way(server: RestServer, bright: Path) -> None:
    assert server.score(quote(PILL, safe=""), bright).json["line"] == PILL
    assert server.ask("GET", f"/lines/{quote(PILL, safe='')}").json["line"] == PILL
    assert server.ask("GET", f"/lines/{PILL}").json["line"] == PILL


def test_the_map_comes_with_its_scale(server: RestServer, bright: Path) -> None:
    told = server.score(PILL, bright, "?map=png").json["map"]
    grey = cv2.imdecode(np.frombuffer(base64.b64decode(told["png"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert (grey.dtype, grey.shape) == (np.uint16, (4, 4))
    assert told["low"] + (told["high"] - told["low"]) * grey.max() / 65535 == pytest.approx(1.0)
    assert server.score(PILL, bright, "?map=jpeg").status == 422


def test_requests_at_once_get_what_one_gets(server: RestServer, tmp_path: Path) -> None:
    images = [write_image(tmp_path / f"{seed}.png", brightness=10 * seed, seed=seed) for seed in range(24)]
    lines = [(PILL, CAPS, CORKS)[number % 3] for number in range(24)]
    alone = [server.score(line, image).json for line, image in zip(lines, images, strict=True)]
    with ThreadPoolExecutor(12) as pool:
        together = [answer.json for answer in pool.map(server.score, lines, images)]
    assert together == alone


def test_requests_at_once_share_batches(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an accelerator, whose batches this CPU takes here."""
    monkeypatch.setattr(ResolvedDevice, "batch_size", 4)
    batches: list[int] = []
    score = ScoringEngine.score_mixed

    def counting(engine: ScoringEngine, names: list[str], images: np.ndarray):
        batches.append(len(names))
        time.sleep(0.05)
        return score(engine, names, images)

    monkeypatch.setattr(ScoringEngine, "score_mixed", counting)
    images = [write_image(tmp_path / f"{seed}.png", brightness=10 * seed, seed=seed) for seed in range(16)]
    with running(home) as server, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda image: server.score(PILL, image), images))
    assert [answer.status for answer in answers] == [200] * 16
    assert sum(batches) == 16
    assert max(batches) > 1


def test_a_promotion_holds_from_the_next_image_on(
    server: RestServer, plant: WholePlant, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.score(PILL, bright).json["decision"] == "REJECT"
    draft = later_draft(plant.registry, "v2", 2)
    plant.registry.add(draft, {**bundle_files(), "head.onnx": head_graph(scale=0.1 / 255)})
    held, release = threading.Event(), threading.Event()
    score = ScoringEngine.score_mixed

    def waiting(engine: ScoringEngine, names: list[str], images: np.ndarray):
        if not held.is_set():
            held.set()
            release.wait(30)
        return score(engine, names, images)

    monkeypatch.setattr(ScoringEngine, "score_mixed", waiting)
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(server.score, PILL, bright)  # begun with v1
        assert held.wait(30)
        plant.registry.promote(PILL, "v2")
        after = server.score(PILL, bright).json
        plant.registry.promote(PILL, "v1")  # while a request still holds it
        back = server.score(PILL, bright).json
        release.set()
        assert (before.result().json["version"], after["version"], back["version"]) == ("v1", "v2", "v1")
    assert after["decision"] == "PASS"
    assert server.score(PILL, bright).json == back
    (engine,) = {served.worker.engine for served in server.service.lines._served.values()}
    assert len(engine.heads) == 1, "what nobody holds is closed"


def test_a_promoted_bundle_that_is_damaged_leaves_the_old_one(
    server: RestServer, plant: WholePlant, bright: Path
) -> None:
    server.score(PILL, bright)
    bundle = plant.registry.add(later_draft(plant.registry, "v2", 2), {**bundle_files(), "head.onnx": head_graph()})
    plant.registry.promote(PILL, "v2")
    bundle.head_path.write_bytes(b"damaged")
    assert server.score(PILL, bright).json["version"] == "v1"
    (problem,) = server.ask("GET", "/lines").json["problems"]
    assert "Scoring goes on with version v1" in problem


def test_a_line_that_is_registered_meanwhile_is_served(server: RestServer, plant: WholePlant, bright: Path) -> None:
    missing = server.score("bottling/new", bright)
    assert missing.status == 404
    told = f"expected a line that is served ({CAPS}, {CORKS}, {PILL}), got 'bottling/new': name one of these"
    assert missing.detail.startswith(told)
    plant.add("bottling/new", "v1", scale=1 / 255)
    deadline = time.monotonic() + 30
    while server.score("bottling/new", bright).status == 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.score("bottling/new", bright).json["version"] == "v1"


def test_only_the_named_lines_are_served(home: Path, bright: Path) -> None:
    with running(home, only=(CAPS,)) as server:
        assert server.ask("GET", "/lines").json == {"lines": [{"line": CAPS, "version": "v1"}], "problems": []}
        assert server.score(CAPS, bright).status == 200
        assert server.score(PILL, bright).status == 404


def test_the_card_says_what_decides(server: RestServer) -> None:
    told = server.ask("GET", f"/lines/{CAPS}").json
    assert (told["version"], told["review"], told["reject"]) == ("v1", 1.0, 2.0)
    assert "threshold_method" in {fact["key"] for fact in told["facts"]}
    assert server.ask("GET", "/lines/other").status == 404


def test_a_line_without_a_live_version_is_not_there(server: RestServer, plant: WholePlant, bright: Path) -> None:
    plant.registry.add(make_draft(line="waiting"), bundle_files())
    answer = server.score("waiting", bright)
    assert (answer.status, "expected a live version of waiting" in answer.detail) == (404, True)
    assert server.score("waiting", bright).detail == answer.detail


def test_metrics_count_images_by_line_and_decision(server: RestServer, bright: Path) -> None:
    for image in (bright, bright, b"no image"):
        server.score(PILL, image)
    text = server.ask("GET", "/metrics").body.decode()
    assert f'linewise_images_total{{decision="REJECT",line="{PILL}"}} 2.0' in text
    assert f'linewise_images_total{{decision="UNREADABLE",line="{PILL}"}} 1.0' in text
    assert "linewise_image_seconds_count 2.0" in text
    assert "linewise_waiting_images 0.0" in text


def test_the_interface_is_described(server: RestServer) -> None:
    described = server.ask("GET", "/openapi.json").json
    assert set(described["paths"]) == {"/lines/{line}/score", "/lines", "/lines/{line}", "/health", "/metrics"}
    score = described["paths"]["/lines/{line}/score"]["post"]
    assert "image/jpeg" in score["requestBody"]["content"]
    assert {"200", "401", "404", "413", "422", "503"} <= set(score["responses"])
    (example,) = described["components"]["schemas"]["ScoreAnswer"]["examples"]
    assert example["decision"] in list(Decision)


def test_results_are_kept_where_that_is_asked_for(home: Path, bright: Path, tmp_path: Path) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        with running(home, store=store) as server:
            told = server.score(PILL, bright, "?name=camera7/0001.png").json
            server.score(CAPS, bright, "?name=a%00%0Ab")  # PostgreSQL takes no zero, and with it none of the other rows
            server.score(PILL, b"no image")
        rows = {(row.line, row.image_path): row for row in store.query()}
        assert set(rows) == {(PILL, "camera7/0001.png"), (CAPS, r"a\x00\nb"), (PILL, "rest")}
        kept = rows[PILL, "camera7/0001.png"]
        assert (kept.score, kept.decision, kept.image_sha256) == (told["score"], Decision.REJECT, told["sha256"])
        runs = {run.line: (run.status, run.scored, run.flagged, run.unreadable) for run in store.runs()}
        assert runs == {PILL: (RunStatus.FINISHED, 1, 1, 1), CAPS: (RunStatus.FINISHED, 1, 0, 0)}
