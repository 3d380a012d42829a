"""What a job is asked to do: the base of every request, a frozen pydantic model.

One definition serves the command, the Prefect forms (descriptions, limits and choices are what the form shows and
enforces), the run folder's config and the tests. Torch-free: the command reads requests before any heavy import.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """Base of every request: frozen, and an unknown field is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)
