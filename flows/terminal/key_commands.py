"""`linewise keys`: who signs the bundles that are made here, and whose bundles are opened here, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal.console import literal, out, table
from pipeline.bounded_reading import read_at_most
from pipeline.settings import load_settings

_MAX_BYTES = 16 * 1024
NameArgument = Annotated[str, typer.Argument(help="Name of the key: of letters, digits, dots, dashes, underscores.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    keys = typer.Typer(help="Keys that sign bundles, and those that this machine trusts.", no_args_is_help=True)
    keys.command("make")(make)
    keys.command("trust")(trust)
    keys.command("list")(list_keys)
    app.add_typer(keys, name="keys")


def make(name: NameArgument) -> None:
    """Make a key to sign bundles with, and trust it on this machine."""
    from deploy.bundles.signatures import make_key  # noqa: PLC0415  # `--help` does not wait for it

    private, public = make_key(name, load_settings())
    out().print(f"Private key, for this machine alone: {literal(str(private))}", soft_wrap=True)
    out().print(f"  to sign with it: LINEWISE_SIGNING_KEY={literal(str(private))}", soft_wrap=True)
    out().print(f"Public key, for the machines that score: {literal(str(public))}", soft_wrap=True)
    out().print("  to trust it there: linewise keys trust FILE; to demand it: LINEWISE_DEMAND_SIGNATURES=1")


def trust(
    file: Annotated[Path, typer.Argument(help="Public key, as `linewise keys make` wrote it.")],
    name: Annotated[str | None, typer.Option(help="Name to trust it under (default: the file's).")] = None,
) -> None:
    """Trust a public key: its bundles are opened where signatures are demanded."""
    from deploy.bundles.signatures import trust_key  # noqa: PLC0415

    path = trust_key(name or file.stem, read_at_most(file, _MAX_BYTES), load_settings())
    out().print(f"Trusted: {literal(str(path))}", soft_wrap=True)


def list_keys() -> None:
    """List the keys that this machine trusts."""
    from deploy.bundles.signatures import trusted_keys  # noqa: PLC0415

    settings = load_settings()
    listing = table("Trusted keys", "name", "key")
    for name, key in trusted_keys(settings).items():
        listing.add_row(literal(name), key)
    out().print(listing)
    out().print(f"Signatures are {'demanded' if settings.demand_signatures else 'not demanded'} on this machine.")
