"""Results of a plant with their messages, in its store without any scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.messages.message import new_message
from deploy.results.store import ResultStore
from tests.deploy.results.result_rows import begin, scored
from tests.deploy.scoring_plant import Plant


def queue(plant: Plant, address: str, numbers: Sequence[int], *, score: float = 0.5) -> list[str]:
    """Commit a result for each number, with its message; the messages' ids."""
    run = begin(plant.store, plant.bundle)
    rows = [scored(run, plant.bundle, number, score=score) for number in numbers]
    messages = [new_message(row, address) for row in rows]
    plant.store.add(row._replace(message=message) for row, message in zip(rows, messages, strict=True))
    return [message.message_id for message in messages]


def counts(store: ResultStore, address: str) -> tuple[int, int]:
    """How many messages wait for an address, and how many it refused."""
    found = {found.destination: (found.waiting, found.refused) for found in store.outbox.counts()}
    return found.get(address, (0, 0))


def first_of_each(messages: Sequence[dict[str, Any]]) -> list[str]:
    """The messages' ids in the order in which each came first: what a receiver keeps that looks at ids."""
    return list(dict.fromkeys(message["id"] for message in messages))
