"""What a plant leans on and others run: who is told of its results, and its database. A broker and a server can die."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.databases import new_database
from benchmarks.messages import webhook
from benchmarks.plant_day.cameras import Mailbox
from tests.deploy.messages.broker import MOSQUITTO, Broker, Heard
from tests.deploy.results.postgres_server import PostgresServer, nothing_to_run


class Service(Protocol):
    """Something that runs beside the plant."""

    def kill(self) -> None:
        """End it with -9."""
        ...

    def start(self) -> None:
        """Start it again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a plant tells its results, the variables of its databases, and what of all that can be killed, by name."""

    publish: str
    variables: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)


@contextmanager
def small(mailbox: Mailbox) -> Iterator[Surroundings]:
    """A webhook, and SQLite: nothing that could be killed."""
    with webhook() as (address, listen):
        listen(mailbox.take)
        yield Surroundings(publish=address)


@contextmanager
def whole(root: Path, mailbox: Mailbox) -> Iterator[Surroundings]:
    """A mosquitto, and a PostgreSQL server with Prefect's database and the results'.

    Raises:
        RuntimeError: either is not there.
    """
    if (lacking := "no mosquitto: install it" if MOSQUITTO is None else nothing_to_run()) is not None:
        raise RuntimeError(f"{lacking}, or live the day with --quick")
    with ExitStack() as running:
        postgres = running.enter_context(PostgresServer(root))
        results, prefect = (new_database(postgres.url, name) for name in ("results", "prefect"))
        broker = Broker(root / "broker", "allow_anonymous true", "max_inflight_messages 0", "autosave_interval 1")
        running.enter_context(broker.running())
        running.enter_context(broker.subscribed(heard=_Ear(mailbox)))
        broker.save()  # who listens is known to it after a kill, too
        yield Surroundings(
            publish=broker.address,
            variables={
                "LINEWISE_DATABASE_URL": results,
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect.replace("+psycopg", "+asyncpg"),
            },
            services={"broker": _KilledBroker(broker), "database": postgres},
        )


class _Ear(Heard):
    """Hands on what the broker tells."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox

    def take(self, topic: str, payload: bytes) -> None:  # noqa: ARG002 - the base class's signature
        self._mailbox.take(payload)


class _KilledBroker:
    """A broker as a service."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def kill(self) -> None:
        self._broker.end(signal.SIGKILL)

    def start(self) -> None:
        self._broker.start()
