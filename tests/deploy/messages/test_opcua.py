"""Delivering to a real OPC UA server that goes away, does not let us in, or has other variables than were named."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.messages.destination import parse_destination
from deploy.messages.opcua import OpcUaServer
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Delivered, Sender
from pipeline.errors import ConfigError
from tests.deploy.messages.opcua_server import SLOW_SECONDS, OpcUaServerProcess
from tests.deploy.messages.queued import counts, first_of_each, queue
from tests.deploy.messages.webhook_server import wait_until
from tests.deploy.scoring_plant import LINE, Plant


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcUaServerProcess]:
    """A server that no test ends: its start takes seconds."""
    with OpcUaServerProcess(tmp_path_factory.mktemp("opcua")).running() as server:
        yield server


@pytest.fixture
def server(started: OpcUaServerProcess) -> OpcUaServerProcess:
    started.forget()
    return started


def sender(plant: Plant, address: str, credentials: str | None = None) -> Sender:
    return Sender(plant.store.outbox, address, receiver_of(parse_destination(address), credentials, database="here"))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.messages.sender._LONGEST_PAUSE_SECONDS", 0.1)


def test_a_variable_is_given_every_message_in_order(plant: Plant, server: OpcUaServerProcess) -> None:
    address = server.address("ns=2;s=Whole")
    ids = queue(plant, address, range(120))
    assert sender(plant, address).close(60) == Delivered(120, 0, 0)
    assert [message["id"] for message in server.messages()] == ids, "each once, in order"
    assert {message["line"] for message in server.messages()} == {LINE}
    assert counts(plant.store, address) == (0, 0)


def test_an_object_of_the_line_gets_its_fields_in_their_types(plant: Plant, server: OpcUaServerProcess) -> None:
    address = server.address("ns=2;s={line}")
    (rejected,) = queue(plant, address, [1], score=0.9)
    (passed,) = queue(plant, address, [2], score=0.1)
    sending = sender(plant, address)
    assert sending.close(30) == Delivered(2, 0, 0), sending.remarks
    first, second = server.written()
    assert (first["Id"], first["Line"], first["Decision"], first["Reason"]) == (rejected, LINE, 2, "")
    assert (second["Id"], second["Decision"], second["Regions"]) == (passed, 0, "[]")
    assert math.isclose(first["Score"], 0.9, abs_tol=1e-6)
    assert first["ScoredAt"].startswith("20")
    assert not {"Temperature", "Recipe"} & first.keys(), "the controller's own variables are left alone"


def test_a_server_that_was_killed_gets_what_came_meanwhile(plant: Plant, tmp_path: Path) -> None:
    server = OpcUaServerProcess(tmp_path)
    address = server.address("ns=2;s=Whole")
    with server.running():
        sending = sender(plant, address)
        first = queue(plant, address, range(20))
        sending.wake()
        wait_until(lambda: counts(plant.store, address) == (0, 0))
        server.end(signal.SIGKILL)
        second = queue(plant, address, range(20, 40))
        sending.wake()
        wait_until(lambda: sending.remarks)
        assert sending.remarks[0].startswith(f"Messages to {address} wait in the result store")
        server.start()
        assert sending.close(60).waiting == 0
    assert first_of_each(server.messages()) == [*first, *second]


def test_a_server_that_is_killed_in_the_middle_loses_nothing(plant: Plant, tmp_path: Path) -> None:
    server = OpcUaServerProcess(tmp_path)
    address = server.address("ns=2;s=Whole")
    with server.running():
        ids = queue(plant, address, range(300))
        sending = sender(plant, address)
        wait_until(lambda: len(server.messages()) > 50)
        server.end(signal.SIGKILL)
        assert counts(plant.store, address)[0] > 0, "it was killed in the middle"
        wait_until(lambda: sending.remarks)
        server.start()
        assert sending.close(120).waiting == 0
    assert first_of_each(server.messages()) == ids
    assert len(server.messages()) < 400, "only what was under way comes twice"


def test_with_a_flag_a_message_is_delivered_once_it_was_read(plant: Plant, server: OpcUaServerProcess) -> None:
    address = server.address("ns=2;s=Read")
    ids = queue(plant, address, range(30))
    assert sender(plant, address).close(60) == Delivered(30, 0, 0)
    assert [found["Id"] for found in server.written()] == ids, "none was written over another that nobody had read"


def test_with_a_flag_that_nobody_clears_messages_wait(
    plant: Plant, server: OpcUaServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.messages.opcua._READ_SECONDS", 0.5)
    address = server.address("ns=2;s=Flagged")
    ids = queue(plant, address, range(2))
    sending = sender(plant, address)
    wait_until(lambda: sending.remarks)
    assert "nobody reads what it has" in sending.remarks[0]
    assert sending.close(0.1) == Delivered(0, 2, 0)
    assert {found["Id"] for found in server.written()} == {ids[0]}, "the second is not written over the first"


def test_who_reads_slowly_is_given_each_message_once(
    plant: Plant, server: OpcUaServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.messages.opcua._READ_SECONDS", SLOW_SECONDS / 4)
    address = server.address("ns=2;s=Slow")
    ids = queue(plant, address, range(2))
    sending = sender(plant, address)
    wait_until(lambda: sending.remarks)
    assert "nobody reads what it has" in sending.remarks[0]
    assert sending.close(30) == Delivered(2, 0, 0)
    assert [found["Id"] for found in server.written()] == ids


def test_a_controller_that_is_killed_before_it_reads_is_given_the_message_again(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.messages.opcua._READ_SECONDS", 0.2)
    server = OpcUaServerProcess(tmp_path)
    address = server.address("ns=2;s=Flagged")
    with server.running():
        ids = queue(plant, address, range(2))
        sending = sender(plant, address)
        wait_until(lambda: sending.remarks)
        server.end(signal.SIGKILL)
        assert [found["Id"] for found in server.written()] == ids[:1]
        server.start()
        wait_until(lambda: len(server.written()) > 1)
        assert sending.close(0.5) == Delivered(0, 2, 0)
    assert [found["Id"] for found in server.written()] == [ids[0], ids[0]]


def test_a_server_that_has_its_variables_later_gets_them_then(plant: Plant, server: OpcUaServerProcess) -> None:
    address = server.address("ns=2;s=Late")
    ids = queue(plant, address, range(3))
    sending = sender(plant, address)
    wait_until(lambda: sending.remarks)
    assert "it answers BadNodeIdUnknown" in sending.remarks[0]
    assert counts(plant.store, address) == (3, 0), "none is refused"
    server.load_late()
    assert sending.close(30) == Delivered(3, 0, 0)
    assert [json.loads(found["Late"])["id"] for found in server.written()] == ids


def test_what_asyncua_cannot_send_is_told_of_and_waits(plant: Plant, server: OpcUaServerProcess) -> None:
    address = server.address("ns=99999;s=Whole")  # as a message of an older version may wait for
    queue(plant, address, range(2))
    receiver = OpcUaServer(address.partition("?")[0], "ns=99999;s=Whole", credentials=None)
    sending = Sender(plant.store.outbox, address, receiver)
    wait_until(lambda: sending.remarks)
    assert "0 <= number <= 65535" in sending.remarks[0]
    assert "unexpected" not in sending.remarks[0], "in the receiver's own words"
    assert sending.close(0.1) == Delivered(0, 2, 0)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("ns=2;s=Fixed", "BadUserAccessDenied|BadNotWritable"),
        ("ns=2;s=Number", "its variable message is of type Int16, which cannot hold"),
        ("ns=2;s=Bare", "no variable that is named as a field"),
    ],
)
def test_what_cannot_be_written_is_refused_and_kept(
    plant: Plant, server: OpcUaServerProcess, node: str, why: str
) -> None:
    queue(plant, server.address(node), range(2))
    sending = sender(plant, server.address(node))
    assert sending.close(30) == Delivered(0, 0, 2)
    assert any(part in sending.remarks[0] for part in why.split("|")), sending.remarks[0]
    assert counts(plant.store, server.address(node)) == (0, 2)
    assert server.written() == []


def test_a_user_who_is_not_let_in_is_told_of_and_loses_nothing(plant: Plant, tmp_path: Path) -> None:
    server = OpcUaServerProcess(tmp_path, "--password", "geheim")
    address = server.address("ns=2;s=Whole")
    with server.running():
        ids = queue(plant, address, range(3))
        for credentials in ("me:falsch", None):
            sending = sender(plant, address, credentials)
            wait_until(lambda sending=sending: sending.remarks)
            assert "Bad" in sending.remarks[0]
            assert "falsch" not in sending.remarks[0]
            assert sending.close(0.3) == Delivered(0, 3, 0)
        assert sender(plant, address, "me:geheim").close(10) == Delivered(3, 0, 0)
    assert first_of_each(server.messages()) == ids


def test_without_asyncua_a_server_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncua", None)
    with pytest.raises(ConfigError, match=r"asyncua.*pip install 'linewise\[opcua\]'.*Docker image.*docs/messages\.md"):
        receiver_of(parse_destination("opc.tcp://plc?node=i=85"), None, database="here")
