"""What the command says of an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from flows.terminal.console import out

if TYPE_CHECKING:  # at run time the results come from the jobs, which the command imports by name
    from flows.export.job import ExportResult


def show_export(result: ExportResult) -> None:
    """One line: what is where."""
    size = result.size_bytes / 2**20
    out().print(
        f"{escape(result.line)} {escape(result.version)} ({result.learner}): {result.files} files, {size:.1f} MiB "
        f"in {escape(str(result.folder))}"
    )
    if result.int8 is not None:
        out().print(escape(f"  int8: {result.int8.figures}"))
        out().print(f"  {result.speedup:.2f} times as fast as float32 here (one thread, decoding left out)")
