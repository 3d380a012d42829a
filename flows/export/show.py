"""What the command says of an export."""

from __future__ import annotations

from flows.export.job import ExportResult
from flows.export.request import ExportRequest
from flows.terminal.console import literal, out


def show(_request: ExportRequest, result: ExportResult) -> int:
    """One line: what is where."""
    size = result.size_bytes / 2**20
    out().print(
        f"{literal(result.line)} {literal(result.version)} ({result.learner}): {result.files} files, {size:.1f} MiB "
        f"in {literal(str(result.folder))}"
    )
    if result.int8 is not None:
        out().print(literal(f"  int8: {result.int8.figures}"))
        out().print(f"  {result.speedup:.2f} times as fast as float32 here (one thread, decoding left out)")
    return 0
