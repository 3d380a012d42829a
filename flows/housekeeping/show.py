"""What the command says of housekeeping."""

from __future__ import annotations

from flows.housekeeping.job import HousekeepingResult, Removed
from flows.housekeeping.request import HousekeepingRequest
from flows.terminal.console import literal, out


def show(request: HousekeepingRequest, result: HousekeepingResult) -> int:
    """A line for each kind, how much room all of it frees, and what was left alone."""
    state = "Would go" if request.dry_run else "Gone"
    out().print(f"{state}, in {result.seconds:.1f} s:")
    for told in removed_sentences(result):
        out().print(f"  {told}")
    for remark in result.remarks:
        out().print(literal(remark))
    return 0


def removed_sentences(result: HousekeepingResult) -> list[str]:
    """How many of each kind, and how much room they take; the sum of files at the end."""
    files = sum(removed.size_bytes for removed in result.removed if removed.kind != "rows")
    return [*map(_told, result.removed), f"{_megabytes(files)} of the disk"]


def _told(removed: Removed) -> str:
    if not removed.size_bytes:
        return f"{removed.count:,} {removed.kind}"
    inside = " inside the database, which new rows take" if removed.kind == "rows" else ""
    about = "about " if removed.kind == "rows" else ""
    return f"{removed.count:,} {removed.kind}, {about}{_megabytes(removed.size_bytes)}{inside}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
