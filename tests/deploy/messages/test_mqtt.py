"""Delivering to a real broker that goes away, does not let us in, or speaks TLS."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.messages.destination import parse_destination
from deploy.messages.mqtt import topic
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Delivered, Sender
from deploy.results.outbox import QueuedMessage
from pipeline.errors import ConfigError
from tests.deploy.messages.broker import Broker
from tests.deploy.messages.queued import counts, first_of_each, queue
from tests.deploy.messages.webhook_server import wait_until
from tests.deploy.scoring_plant import LINE, Plant


def sender(plant: Plant, address: str, credentials: str | None = None) -> Sender:
    return Sender(plant.store.outbox, address, receiver_of(parse_destination(address), credentials, database="here"))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.messages.sender._LONGEST_PAUSE_SECONDS", 0.1)


def test_a_broker_gets_everything_in_order_by_line_and_decision(plant: Plant, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    with broker.running(), broker.subscribed("plant/7/#") as heard:
        passed = queue(plant, broker.address, range(250), score=0.1)
        rejected = queue(plant, broker.address, range(250, 260), score=0.9)
        assert sender(plant, broker.address).close(30) == Delivered(260, 0, 0)
        wait_until(lambda: len(heard.messages) == 260)
    assert [message["id"] for message in heard.messages] == [*passed, *rejected]
    assert heard.topics == [f"plant/7/{LINE}/PASS"] * 250 + [f"plant/7/{LINE}/REJECT"] * 10
    assert counts(plant.store, broker.address) == (0, 0)


def test_a_broker_that_ends_in_the_middle_gets_everything_once_it_is_back(plant: Plant, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    with broker.running(), broker.subscribed() as heard:
        ids = queue(plant, broker.address, range(1500))
        sending = sender(plant, broker.address)
        wait_until(lambda: len(heard.messages) > 100)
        broker.end()
        waiting = counts(plant.store, broker.address)[0]
        assert waiting > 0, "it ended in the middle"
        wait_until(lambda: sending.remarks)
        broker.start()
        assert sending.close(60).waiting == 0
        wait_until(lambda: len(set(first_of_each(heard.messages))) == 1500)
    assert first_of_each(heard.messages) == ids, "nothing lost, and in order for who looks at ids"
    assert len(heard.messages) < 1500 + 200


def test_a_broker_that_was_killed_gets_what_came_meanwhile(plant: Plant, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    with broker.running(), broker.subscribed() as heard:
        sending = sender(plant, broker.address)
        first = queue(plant, broker.address, range(20))
        wait_until(lambda: len(heard.messages) == 20 and counts(plant.store, broker.address) == (0, 0))
        broker.save()
        broker.end(signal.SIGKILL)
        second = queue(plant, broker.address, range(20, 40))
        sending.wake()
        wait_until(lambda: sending.remarks)
        broker.start()
        assert sending.close(30) == Delivered(40, 0, 0)
        wait_until(lambda: len(first_of_each(heard.messages)) == 40)
    assert first_of_each(heard.messages) == [*first, *second]


def test_a_broker_that_does_not_let_us_in_is_told_of_and_loses_nothing(plant: Plant, tmp_path: Path) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("no mosquitto_passwd")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "me", "geheim"], check=True, capture_output=True)
    passwords.chmod(0o644)
    broker = Broker(tmp_path / "broker", "allow_anonymous false", f"password_file {passwords}")
    with broker.running(), broker.subscribed(user="me", password="geheim") as heard:
        ids = queue(plant, broker.address, range(3))
        sending = sender(plant, broker.address, "me:falsch")
        wait_until(lambda: sending.remarks)
        assert "Not authorized" in sending.remarks[0]
        assert "falsch" not in sending.remarks[0]
        assert sending.close(0.3) == Delivered(0, 3, 0)
        assert sender(plant, broker.address, "me:geheim").close(10) == Delivered(3, 0, 0)
        wait_until(lambda: len(heard.messages) == 3)
    assert first_of_each(heard.messages) == ids


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho forgets to close a refused socket
def test_tls_asks_for_a_certificate_that_this_system_trusts(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    key.chmod(0o644)
    broker = Broker(tmp_path / "broker", "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    address = f"mqtts://localhost:{broker.port}/plant"
    with broker.running():
        queue(plant, address, range(3))
        distrusting = sender(plant, address)
        wait_until(lambda: distrusting.remarks)
        assert "certificate" in distrusting.remarks[0]
        assert distrusting.close(0.1) == Delivered(0, 3, 0)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert sender(plant, address).close(10) == Delivered(3, 0, 0)


def test_without_paho_a_broker_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ConfigError, match=r"paho-mqtt.*pip install 'linewise\[mqtt\]'"):
        receiver_of(parse_destination("mqtt://broker"), None, database="here")


def test_a_lines_name_cannot_make_a_topic_that_is_none() -> None:
    message = QueuedMessage(1, "id", "a+b/#7", "PASS", "{}")
    assert topic("plant", message) == "plant/a-b/-7/PASS"
    assert topic("", message) == "a-b/-7/PASS"
