"""Weights of the user's own: `weights/<name>.safetensors` or `.pth` in the home. Torch-free, for listings too."""

from __future__ import annotations

from pathlib import Path

from pipeline.settings import Settings

SUFFIXES = (".safetensors", ".pth")
"""In the order they are looked for."""


def own_weights(name: str, settings: Settings) -> Path | None:
    """The file that a backbone takes before its package's; None where there is none."""
    files = (settings.below_home("weights", f"{name}{suffix}") for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)
