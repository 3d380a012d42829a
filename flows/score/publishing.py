"""A scoring job's publisher: made as its request says, and brought to its end with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Delivered
from deploy.results.store import ResultStore
from flows.score.request import ScoringSettings
from pipeline.settings import Settings

END_SECONDS = 10.0
"""How long a finished run waits for what is still to be delivered."""


@contextmanager
def publishing(request: ScoringSettings, settings: Settings, store: ResultStore) -> Iterator[Publisher | None]:
    """Deliver what the run has to tell while the body runs; None: it tells nobody. `end` it in the body.

    Raises:
        ConfigError: what the destination's protocol needs is not installed.
    """
    if request.publish is None:
        yield None
        return
    destination, secret = parse_destination(request.publish), settings.publish_credentials
    credentials = None if secret is None else secret.get_secret_value()
    receiver = receiver_of(destination, credentials, database=str(store.url))
    publisher = Publisher(store.outbox, destination.address, request.publish_decisions, receiver)
    try:
        yield publisher
    finally:
        publisher.end(0.0)


def told_of_delivery(address: str | None, messages: Delivered | None) -> list[str]:
    """What a person should know of a finished run's messages; nothing where all were delivered."""
    if messages is None:
        return []
    told = []
    if messages.waiting:
        told.append(
            f"{messages.waiting:,} messages to {address} wait in the result store: the next run that publishes there "
            "delivers them, or `linewise messages send`."
        )
    if messages.refused:
        told.append(f"{address} refused {messages.refused:,} messages for good: see `linewise messages list`.")
    return told
