"""Delivering to a webhook: a real HTTP server that is slow, refuses, fails and dies."""

from __future__ import annotations

import sqlite3
import time

import pytest

from deploy.messages.destination import parse_destination
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Delivered, Sender
from tests.deploy.messages.queued import counts, first_of_each, queue
from tests.deploy.messages.webhook_server import WebhookServer, wait_until
from tests.deploy.scoring_plant import Plant


def sender(plant: Plant, address: str, credentials: str | None = None) -> Sender:
    return Sender(plant.store.outbox, address, receiver_of(parse_destination(address), credentials, database="here"))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.messages.sender._LONGEST_PAUSE_SECONDS", 0.05)


def test_everything_is_posted_in_order_over_one_connection(plant: Plant) -> None:
    with WebhookServer().serving() as server:
        ids = queue(plant, server.address, range(250))
        assert sender(plant, server.address).close(30) == Delivered(250, 0, 0)
    assert [message["id"] for message in server.accepted] == ids
    assert [headers["Idempotency-Key"] for headers in server.headers] == ids
    assert {headers["path"] for headers in server.headers} == {"/results?from=linewise"}
    assert len(server.connections) == 1
    assert counts(plant.store, server.address) == (0, 0)


@pytest.mark.parametrize(
    ("credentials", "header"),
    [(None, None), ("me:geheim", "Basic bWU6Z2VoZWlt"), ("a-token", "Bearer a-token")],
)
def test_credentials_go_into_the_header_alone(plant: Plant, credentials: str | None, header: str | None) -> None:
    with WebhookServer().serving() as server:
        queue(plant, server.address, [1])
        sender(plant, server.address, credentials).close(30)
    assert server.headers[0].get("Authorization") == header


def test_a_server_that_fails_now_and_then_gets_everything_in_order(plant: Plant, short_pauses: None) -> None:
    statuses = [500, 503, 429, 408, 0]
    with WebhookServer(answer=lambda number, _: statuses[number // 2 % 5] if number % 2 else 200).serving() as server:
        ids = queue(plant, server.address, range(20))
        assert sender(plant, server.address).close(30) == Delivered(20, 0, 0)
    assert [message["id"] for message in server.accepted] == ids
    assert first_of_each(server.received) == ids


def test_a_message_that_is_refused_stays_and_the_others_go_on(plant: Plant) -> None:
    with WebhookServer(answer=lambda number, _: {1: 400, 2: 302}.get(number, 201)).serving() as server:
        ids = queue(plant, server.address, range(5))
        sending = sender(plant, server.address)
        assert sending.close(30) == Delivered(3, 0, 2)
        assert "refused messages for good, the first because it answered 400" in sending.remarks[0]
        assert [message["id"] for message in server.accepted] == [ids[0], ids[3], ids[4]]
        assert {headers["path"] for headers in server.headers} == {"/results?from=linewise"}, "no redirect is followed"
        (found,) = plant.store.outbox.counts()
        assert found.refusal == "it answered 302 Found"
        assert plant.store.outbox.restore(server.address) == 2
        assert sender(plant, server.address).close(30) == Delivered(2, 0, 0)
    assert sorted(message["id"] for message in server.accepted) == sorted(ids)


def test_a_server_that_is_away_is_waited_for(plant: Plant, short_pauses: None) -> None:
    server = WebhookServer()
    address = server.address
    with server.serving():
        first = queue(plant, address, range(10))
        sending = sender(plant, address)
        wait_until(lambda: len(server.accepted) == 10)
    second = queue(plant, address, range(10, 20))
    sending.wake()
    wait_until(lambda: sending.remarks)
    assert sending.remarks[0].startswith(f"Messages to {address} wait in the result store, as it cannot take them now")
    with WebhookServer(server.port).serving() as again:
        wait_until(lambda: len(again.accepted) == 10)
        wait_until(lambda: not sending.remarks)
        assert sending.close(10) == Delivered(20, 0, 0)
    assert [message["id"] for message in [*server.accepted, *again.accepted]] == [*first, *second]


def test_the_end_waits_for_a_receiver_no_longer_than_it_says(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.messages.webhook.ANSWER_SECONDS", 0.5)

    def slow(_number: int, _message: object) -> int:
        time.sleep(2)
        return 200

    with WebhookServer(answer=slow).serving() as server:
        queue(plant, server.address, range(3))
        began = time.monotonic()
        assert sender(plant, server.address).close(0.7) == Delivered(0, 3, 0)
        assert time.monotonic() - began < 3
        assert counts(plant.store, server.address) == (3, 0)


def test_of_two_senders_one_sends_and_the_other_takes_over(plant: Plant) -> None:
    with WebhookServer().serving() as server:
        first = sender(plant, server.address)
        queue(plant, server.address, [0])
        wait_until(lambda: len(server.accepted) == 1)
        second = sender(plant, server.address)
        queue(plant, server.address, range(1, 50))
        second.wake()
        assert second.close(10).waiting == 0
        assert first.close(10) == Delivered(50, 0, 0)
        third = sender(plant, server.address)
        queue(plant, server.address, range(50, 60))
        assert third.close(10) == Delivered(10, 0, 0)
    assert len(server.received) == 60, "nothing twice"


def test_a_message_that_cannot_be_read_is_told_of_and_waits(plant: Plant, short_pauses: None) -> None:
    """An error that nobody foresaw: the thread lives on, and delivers once its cause is gone."""
    with WebhookServer().serving() as server:
        ids = queue(plant, server.address, range(3))
        with sqlite3.connect(str(plant.store.url.database)) as database:
            database.execute("UPDATE outbox SET body = 'broken ' || body WHERE message_id = ?", [ids[1]])
        sending = sender(plant, server.address)
        wait_until(lambda: sending.remarks)
        assert "cannot take them now: unexpected JSONDecodeError" in sending.remarks[0]
        with sqlite3.connect(str(plant.store.url.database)) as database:
            database.execute("UPDATE outbox SET body = replace(body, 'broken ', '')")
        assert sending.close(30) == Delivered(3, 0, 0)
    assert [message["id"] for message in server.accepted] == ids
