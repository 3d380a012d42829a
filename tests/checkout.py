"""The checkout that is tested: where it lies, what its packages are, and which modules of `deploy` need extras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "model_zoo", "flows", "deploy", "linewise")

# The two places of deploy with torch: the exporter and what it is split into, and nvJPEG, which a setting asks for.
WITH_TORCH = {
    "deploy.decoding.nvjpeg",
    "deploy.exporting.torch_to_onnx",
    "deploy.exporting.head_templates",
    "deploy.exporting.int8",
    "deploy.exporting.onnx_graphs",
    "deploy.exporting.distance_graph",
    "deploy.exporting.score_cover",
}

# What only `linewise serve` loads, with the libraries of the extra "rest".
WITH_FASTAPI = {f"deploy.rest.{name}" for name in ("app", "metrics", "own_names", "server")}
# What of deploy needs the extra `pages`, a web server.
WITH_PAGES = {
    f"deploy.review.{name}" for name in ("access", "app", "fields", "rates", "report_files", "serving", "static_files")
}


def source_files(*packages: str) -> Iterator[Path]:
    """The modules of these packages, of all of them where none is named."""
    for package in packages or PACKAGES:
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_migration(file: Path) -> bool:
    """Whether alembic runs the file itself, inside its own context: nothing imports it."""
    return "migrations" in file.relative_to(REPOSITORY).parts
