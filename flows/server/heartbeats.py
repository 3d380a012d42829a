"""How often our flows' runs say that they go on, whoever runs them: the server takes one that stops for dead.

Prefect's own default is three minutes. A run of a shell or of a script, not of a worker, would be crashed long before
its second heartbeat, and with it the shards that others score for it.
"""

from __future__ import annotations

import os
from datetime import timedelta

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from flows.activities import DEPLOYMENTS

SECONDS = 30
"""Between two heartbeats; `deploy/prefect.yaml` says the same to a worker's processes before they read our code."""
SILENCE = timedelta(seconds=3 * SECONDS)
"""After so long without one a run counts as dead."""
FLOWS = (*DEPLOYMENTS, "score-shards")
"""The names of the flows of which this holds: those with a deployment of the same name, and one that has none."""

_SETTING = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"


def beat_as_awaited() -> None:
    """Have the runs of this process send heartbeats as often as the server awaits them, whatever is configured."""
    os.environ[_SETTING] = str(SECONDS)
    if get_current_settings().flows.heartbeat_frequency != SECONDS:  # Prefect had read its settings before
        refresh_global_settings_context()
