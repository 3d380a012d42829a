"""What a server does not take on, and how it says so; what it still answers when it stops."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from tests.deploy.rest.rest_server import RestServer, running
from tests.parts.whole_plant import PILL

TOKEN = "a long random text"  # of this test


def test_what_is_no_image_says_why(server: RestServer, bright: Path) -> None:
    for body, told in (
        (b"no image at all", "expected "),
        (bright.read_bytes()[:200], "expected a complete PNG"),
        (b"", "expected an image's file as the body, got nothing"),
    ):
        answer = server.score(PILL, body)
        assert (answer.status, answer.detail.startswith(told)) == (422, True), answer.body
    form = server.score(PILL, bright, Content_Type="multipart/form-data; boundary=x")
    assert (form.status, "got multipart/form-data: send the file's bytes alone" in form.detail) == (415, True)
    fields = server.score(PILL, b"image=x", Content_Type="application/x-www-form-urlencoded")
    assert (fields.status, fields.detail.startswith("expected a JPEG, PNG, BMP or TIFF image, got")) == (422, True)


def test_a_file_as_curl_sends_it_is_scored(server: RestServer, bright: Path) -> None:
    """`curl --data-binary @part.png` calls every body a form unless it is told otherwise."""
    sent = server.score(PILL, bright, Content_Type="application/x-www-form-urlencoded")
    assert (sent.status, sent.json) == (200, server.score(PILL, bright).json)


def test_whatever_is_refused_has_one_sentence(server: RestServer, bright: Path) -> None:
    for answer, status, told in (
        (server.score(PILL, bright, "?map=jpeg"), 422, "got map='jpeg' (Input should be 'png'): "),
        (server.score(PILL, bright, "?name=" + "a" * 501), 422, "got name='aaaa"),
        (server.ask("GET", "/lines-of-yesterday"), 404, "got '/lines-of-yesterday': "),
        (server.ask("PUT", f"/lines/{PILL}/score", b"x"), 405, f"got PUT for '/lines/{PILL}/score': POST "),
        (server.ask("GET", f"/lines/{PILL}/score"), 405, f"got GET for '/lines/{PILL}/score': POST images"),
        (server.ask("GET", "/lines/strange/score"), 404, "got 'strange/score': "),
    ):
        assert (answer.status, told in answer.detail) == (status, True), answer.body
        assert answer.detail.startswith("expected ")


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(server: RestServer) -> None:
    bomb = bytearray(cv2.imencode(".bmp", np.zeros((16, 16), np.uint8))[1].tobytes())
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2
    answer = server.score(PILL, bytes(bomb))
    assert answer.status == 422
    png = bytearray(cv2.imencode(".png", np.zeros((16, 16), np.uint8))[1].tobytes())
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    answer = server.score(PILL, bytes(png))
    assert (answer.status, "expected " in answer.detail) == (422, True)


def test_a_body_that_is_too_long_is_not_read(home: Path, bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy.rest import image_service

    class Small(image_service.ImageLimits):
        max_bytes = 10_000

    monkeypatch.setattr(image_service, "image_limits", Small)
    with running(home) as server:
        declared = server.score(PILL, bytes(10_001))
        assert declared.status == 413
        assert declared.detail.startswith("expected at most 10,000 bytes, got 10,001 or more: save a smaller image or ")
        chunked = server.ask("POST", f"/lines/{PILL}/score", iter([bytes(6_000)] * 2), Transfer_Encoding="chunked")
        assert chunked.status == 413
        assert server.score(PILL, bright).status == 200


def test_a_full_queue_says_when_to_come_again(home: Path, bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    score = ScoringEngine.score_mixed

    def waiting(engine: ScoringEngine, names: list[str], images: np.ndarray):
        release.wait(30)
        return score(engine, names, images)

    monkeypatch.setattr(ScoringEngine, "score_mixed", waiting)
    with running(home, places=2) as server, ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(server.score, PILL, bright) for _ in range(2)]
        while server.ask("GET", "/health").json["waiting"] < 2:
            time.sleep(0.02)
        refused = server.score(PILL, bright)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert "got 2 images of" in refused.detail
        assert b'linewise_refused_total{status="503"} 1.0' in server.ask("GET", "/metrics").body
        release.set()
        assert [each.result().status for each in begun] == [200, 200]
        assert server.score(PILL, bright).status == 200


def test_a_stop_answers_what_is_under_way(home: Path, bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    score = ScoringEngine.score_mixed

    def slow(engine: ScoringEngine, names: list[str], images: np.ndarray):
        begun.set()
        time.sleep(0.5)
        return score(engine, names, images)

    monkeypatch.setattr(ScoringEngine, "score_mixed", slow)
    with ThreadPoolExecutor(1) as pool:
        with running(home) as server:
            answer = pool.submit(server.score, PILL, bright)
            assert begun.wait(30)
        assert answer.result().status == 200


def test_a_token_is_asked_for(home: Path, bright: Path) -> None:
    with running(home, token=TOKEN) as server:
        assert server.ask("GET", "/health").status == 200
        for path in ("/lines", f"/lines/{PILL}", "/metrics"):
            assert server.ask("GET", path).status == 401
        none = server.score(PILL, bright)
        assert (none.status, none.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert server.score(PILL, bright, Authorization="Bearer another").status == 401
        assert server.score(PILL, bright, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_result_that_cannot_be_kept_is_told(home: Path, bright: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"

    def rename(table: str, to: str) -> None:
        with closing(sqlite3.connect(file, timeout=30)) as database:
            database.execute(f"ALTER TABLE {table} RENAME TO {to}")
            database.commit()

    with ResultStore(file) as store:
        with running(home, store=store) as server:
            assert server.score(PILL, bright).status == 200
            rename("results", "elsewhere")
            deadline = time.monotonic() + 30
            while (answer := server.score(PILL, bright)).status == 200:
                assert time.monotonic() < deadline
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            rename("elsewhere", "results")
            assert server.score(PILL, bright, "?name=later").status == 200
        assert [row.line for row in store.query()] == [PILL]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:4291"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example@localhost"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Host": "localhost", "Origin": "http://evil.example"},
        {"Host": "localhost", "Origin": "null"},
    ],
    ids=str,
)
def test_without_a_token_no_website_reaches_the_server(
    server: RestServer, bright: Path, headers: dict[str, str]
) -> None:
    answer = server.score(PILL, bright, **headers)
    assert (answer.status, "set LINEWISE_REST_TOKEN" in answer.detail) == (403, True)
    assert server.ask("GET", "/openapi.json", **headers).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:4291", "localhost", "LOCALHOST:4291", "[::1]:4291", "[::1]", "127.8.0.1"])
def test_without_a_token_this_machine_is_answered_by_each_of_its_names(
    server: RestServer, bright: Path, host: str
) -> None:
    assert server.score(PILL, bright, Host=host).status == 200
    assert server.score(PILL, bright, Host=host, Origin=f"http://{host}").status == 200


def test_with_a_token_the_server_answers_to_any_name(home: Path, bright: Path) -> None:
    with running(home, token=TOKEN) as server:
        headers = {"Host": "plant.example", "Origin": "http://other.example", "Authorization": f"Bearer {TOKEN}"}
        assert server.score(PILL, bright, **headers).status == 200
