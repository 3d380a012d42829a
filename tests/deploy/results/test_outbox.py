"""The outbox in either database: with its results or not at all, in order, for one sender at a time."""

from __future__ import annotations

from pathlib import Path

from deploy.bundles.bundle import write_bundle
from deploy.messages.message import new_message
from deploy.results.outbox import QueuedMessage
from deploy.results.records import NewResult
from deploy.results.store import ResultStore
from tests.deploy.results.result_rows import begin, scored, unreadable
from tests.deploy.results.schema_steps import step_back
from tests.parts.plant import bundle_files, make_draft

TO = "mqtt://broker/plant"


def told(row: NewResult, address: str = TO) -> NewResult:
    return row._replace(message=new_message(row, address))


def test_a_message_comes_with_a_contents_first_row_and_its_first_score(store: ResultStore, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", make_draft(), bundle_files())
    run = begin(store, bundle)
    store.add([told(unreadable(run, bundle, "/images/1.png", number=1)), told(scored(run, bundle, 2))])
    store.add([told(scored(run, bundle, 1)), told(scored(run, bundle, 2)), told(scored(run, bundle, 2, path="/copy"))])
    store.add([told(unreadable(run, bundle, "/images/1.png", number=1)), scored(run, bundle, 3)])
    found = store.outbox.waiting(TO, 100)
    assert [message.decision for message in found] == ["UNREADABLE", "PASS", "PASS"]
    assert len({message.message_id for message in found}) == 3
    for _ in range(2):
        store.add([told(unreadable(run, bundle, "/images/gone.png", number=None))])
    assert len(store.outbox.waiting(TO, 100)) == 4, "while it waits, the same is not queued twice"


def test_messages_come_in_order_and_are_refused_restored_and_dropped(store: ResultStore, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", make_draft(), bundle_files())
    run = begin(store, bundle)
    store.add([told(scored(run, bundle, number)) for number in range(600)])
    store.add([told(scored(run, bundle, 600), "http://elsewhere/")])
    some = store.outbox.waiting(TO, 10)
    assert [message.number for message in some] == sorted(message.number for message in some)
    store.outbox.remove([message.number for message in some])
    first, second = store.outbox.waiting(TO, 2)
    assert first.number == some[-1].number + 1
    store.outbox.refuse(first.number, "it answered 404")
    assert store.outbox.waiting(TO, 1) == [second]
    elsewhere, here = store.outbox.counts()
    assert (elsewhere.waiting, elsewhere.refused) == (1, 0)
    assert (here.waiting, here.refused, here.refusal) == (589, 1, "it answered 404")
    assert here.waiting_since is not None
    assert store.outbox.restore(TO) == 1
    assert store.outbox.waiting(TO, 1) == [first], "in its old place"
    store.outbox.refuse(first.number, "again")
    assert store.outbox.drop(TO) == 1
    assert store.outbox.drop(TO, waiting=True) == 589
    assert [found.destination for found in store.outbox.counts()] == ["http://elsewhere/"]


def test_a_number_is_never_used_again(store: ResultStore, tmp_path: Path) -> None:
    """Else who delivered a message might remove the one that took its place."""
    bundle = write_bundle(tmp_path / "bundle", make_draft(), bundle_files())
    run = begin(store, bundle)
    numbers = []
    for number in range(3):
        store.add([told(scored(run, bundle, number))])
        (message,) = store.outbox.waiting(TO, 10)
        assert isinstance(message, QueuedMessage)
        store.outbox.remove([message.number])
        numbers.append(message.number)
    assert len(set(numbers)) == 3


def test_one_sender_at_a_time_has_a_destination(store: ResultStore, database: str) -> None:
    with ResultStore(database) as other:
        with store.outbox.claimed(TO) as first:
            assert first
            with other.outbox.claimed(TO) as second, other.outbox.claimed("http://elsewhere/") as third:
                assert (second, third) == (False, True)
        with other.outbox.claimed(TO) as afterwards:
            assert afterwards


def test_a_database_of_before_messages_gets_their_table(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "bundle", make_draft(), bundle_files()), tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        run = begin(store, bundle)
        store.add([told(scored(run, bundle, 1))])
    step_back(path, "0004")
    with ResultStore(path) as store:
        assert store.outbox.counts() == []
        store.add([told(scored(run, bundle, 1)), told(scored(run, bundle, 2))])
        assert len(store.query()) == 2
        assert len(store.outbox.waiting(TO, 10)) == 1, "what was scored before is not told now"
