"""`linewise messages`: what scoring has to tell others and could not deliver yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal.console import JsonOption, literal, out, table, write_json
from pipeline.errors import ConfigError
from pipeline.settings import load_settings

if TYPE_CHECKING:  # opening a database waits until a command needs it
    from deploy.results.outbox import OutboxCounts
    from deploy.results.store import ResultStore

AddressArgument = Annotated[
    str | None, typer.Argument(metavar="ADDRESS", help="As list shows it (default: every one).", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    messages = typer.Typer(help="Messages of scoring (--publish) that were not delivered.", no_args_is_help=True)
    messages.command("list")(list_messages)
    messages.command("send")(send)
    messages.command("drop")(drop)
    app.add_typer(messages, name="messages")


def list_messages(json_path: JsonOption = None) -> None:
    """How many messages wait for each address, and how many it refused for good."""
    with _store() as store:
        counts = store.outbox.counts()
    write_json(json_path, [_values(found) for found in counts])
    if json_path is not None:
        return
    if not counts:
        out().print("No message waits, and none was refused.")
        return
    listing = table("Messages", "address", "waiting", "since", "refused", "why", right=("waiting", "refused"))
    for found in counts:
        since = found.waiting_since.astimezone().strftime("%Y-%m-%d %H:%M") if found.waiting_since else ""
        cells = (f"{found.waiting:,}", since, f"{found.refused:,}", literal(found.refusal or ""))
        listing.add_row(literal(found.destination), *cells)
    out().print(listing)


def send(
    address: AddressArgument = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long to go on trying, for each address.")] = 60.0,
) -> None:
    """Deliver what waits, and try again what was refused. Ends with 1 where some is left."""
    from deploy.messages.destination import parse_destination  # noqa: PLC0415  # `--help` does not wait for it
    from deploy.messages.receivers import receiver_of  # noqa: PLC0415
    from deploy.messages.sender import Sender  # noqa: PLC0415

    settings, left = load_settings(), 0
    secret = settings.publish_credentials
    with _store() as store:
        for found in _chosen(store, address):
            destination = parse_destination(found.destination)
            credentials = secret.get_secret_value() if secret else None
            receiver = receiver_of(destination, credentials, database=str(store.url))
            store.outbox.restore(destination.address)
            sender = Sender(store.outbox, destination.address, receiver)
            end = sender.close(seconds)
            told = f"{destination.address}: {end.delivered:,} delivered, {end.waiting:,} wait, {end.refused:,} refused"
            out().print(literal(told))
            for remark in sender.remarks:
                out().print(literal(remark))
            left += end.waiting + end.refused
    if left:
        raise typer.Exit(1)


def drop(
    address: AddressArgument = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Also what waits, for ever untold.")] = False,
) -> None:
    """Forget what was refused. The results themselves stay in the result store."""
    with _store() as store:
        for found in _chosen(store, address):
            count = store.outbox.drop(found.destination, waiting=waiting)
            out().print(f"{literal(found.destination)}: {count:,} dropped")


def _chosen(store: ResultStore, address: str | None) -> Sequence[OutboxCounts]:
    counts = store.outbox.counts()
    if address is None:
        return counts
    if not (chosen := [found for found in counts if found.destination == address]):
        known = ", ".join(found.destination for found in counts) or "none at all"
        raise ConfigError("an address that messages wait for", repr(address), f"name one of these: {known}")
    return chosen


def _values(found: OutboxCounts) -> dict[str, Any]:
    return found._asdict() | {"waiting_since": found.waiting_since and found.waiting_since.isoformat()}


def _store() -> ResultStore:
    from deploy.results.store import ResultStore  # noqa: PLC0415

    return ResultStore(load_settings().database)
