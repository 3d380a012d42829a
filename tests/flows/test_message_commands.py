"""`--publish` and `linewise messages`, from the command to a receiver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.results.store import ResultStore
from pipeline.settings import load_settings
from tests.deploy.messages.queued import first_of_each
from tests.deploy.messages.webhook_server import WebhookServer
from tests.flows.adapted_home import LINE
from tests.flows.command import Command, sentence


@pytest.fixture(autouse=True)
def short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.score.job.END_SECONDS", 1.0)
    monkeypatch.setattr("flows.score.plant_job.END_SECONDS", 1.0)


def score(linewise: Command, line: Path, *more: str) -> tuple[int, str, str]:
    return linewise("score", LINE, line / "test", "--device", "cpu", "--workers", "1", *more)


def test_score_tells_a_webhook_of_every_result(adapted_home: Path, line: Path, linewise: Command, monkeypatch):
    monkeypatch.setenv("LINEWISE_PUBLISH_CREDENTIALS", "me:geheim")
    with WebhookServer().serving() as server:
        code, out, error = score(linewise, line, "--publish", server.address, "--json", "-")
        figures = json.loads(out)
        assert (code, figures["messages_delivered"], figures["messages_waiting"]) == (0, 10, 0)
        assert score(linewise, line, "--publish", server.address)[0] == 0
    assert len(first_of_each(server.accepted)) == len(server.received) == 10, "what was told is not told again"
    assert {message["line"] for message in server.accepted} == {LINE}
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert "geheim" not in out + error
    assert linewise("messages", "list")[1] == "No message waits, and none was refused.\n"


def test_what_could_not_be_delivered_is_told_and_sent_later(adapted_home: Path, line: Path, linewise: Command):
    server = WebhookServer()
    with server.serving():
        pass
    code, out, error = score(linewise, line, "--publish", server.address)
    assert code == 0
    assert f"10 messages to {server.address} wait in the result store" in error
    code, out, _ = linewise("messages", "list", "--json", "-")
    (found,) = json.loads(out)
    assert (found["destination"], found["waiting"], found["refused"]) == (server.address, 10, 0)
    with WebhookServer(server.port, lambda number, _: 400 if number == 3 else 200).serving() as again:
        code, out, _ = linewise("messages", "send", server.address)
        assert (code, out.splitlines()[0]) == (1, f"{server.address}: 9 delivered, 0 wait, 1 refused")
        assert "400" in linewise("messages", "list")[1]
        again.answer = lambda _number, _message: 200
        code, out, _ = linewise("messages", "send")
        assert (code, out) == (0, f"{server.address}: 1 delivered, 0 wait, 0 refused\n")
    assert len(first_of_each(again.accepted)) == 10


def test_the_next_run_that_publishes_there_delivers_what_waits(adapted_home: Path, line: Path, linewise: Command):
    server = WebhookServer()
    with server.serving():
        pass
    score(linewise, line, "--publish", server.address, "--publish-decisions", "REJECT,REVIEW")
    with ResultStore(load_settings().database) as store:
        flagged = [row for row in store.query() if row.decision != "PASS"]
    with WebhookServer(server.port).serving() as again:
        code, _, error = score(linewise, line, "--publish", server.address)
    assert code == 0
    assert "wait in the result store" not in error
    assert {message["image_sha256"] for message in again.accepted} == {row.image_sha256 for row in flagged}


def test_messages_are_dropped_on_purpose_only(adapted_home: Path, line: Path, linewise: Command):
    server = WebhookServer()
    with server.serving():
        pass
    score(linewise, line, "--publish", server.address)
    assert linewise("messages", "drop")[:2] == (0, f"{server.address}: 0 dropped\n")
    assert linewise("messages", "drop", server.address, "--waiting")[:2] == (0, f"{server.address}: 10 dropped\n")
    code, _, error = linewise("messages", "send", "mqtt://nobody")
    assert code == 2
    assert "expected an address that messages wait for, got 'mqtt://nobody'" in sentence(error)


def test_a_plant_tells_of_all_its_lines(adapted_home: Path, line: Path, linewise: Command, tmp_path: Path):
    (tmp_path / "plant" / LINE).parent.mkdir(parents=True)
    (tmp_path / "plant" / LINE).symlink_to(line / "test")
    with WebhookServer().serving() as server:
        code, _, _ = linewise("score-plant", tmp_path / "plant", "--device", "cpu", "--publish", server.address)
    assert code == 0
    assert len(first_of_each(server.accepted)) == 10


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--publish", "mqtt://me:geheim@broker"), "LINEWISE_PUBLISH_CREDENTIALS"),
        (("--publish", "broker"), "an address such as mqtt://"),
        (("--publish-decisions", "REJECT"), "name one with publish"),
        (("--publish", "http://host", "--publish-decisions", "BAD"), "publish-decisions"),
    ],
)
def test_mistakes_are_told_in_a_sentence(linewise: Command, line: Path, flags: tuple[str, ...], said: str):
    code, _, error = score(linewise, line, *flags)
    assert code == 2
    assert said in sentence(error)
    assert "geheim" not in error
