"""What `linewise doctor` checks of an installation, one thing at a time."""

from __future__ import annotations

from flows.doctor.checks import Check, check_installation
from pipeline.settings import Settings, load_settings


def found(name: str, settings: Settings | None = None) -> Check:
    """What the check of that name finds, in the home folder of the environment where no settings are given."""
    return next(check for check in check_installation(settings or load_settings()) if check.name == name)
