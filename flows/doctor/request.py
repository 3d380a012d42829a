"""What the doctor is asked."""

from __future__ import annotations

from flows.asking.request import Request
from flows.asking.request_fields import JsonFile, ScoringDevice


class DoctorRequest(Request):
    """Check this machine: libraries, devices, home, result store, Prefect; compare and time what can score.

    Ends with 0 when all is well, with 1 when something needs mending, with 2 when the device asked for does not work.
    """

    device: ScoringDevice = None
    json_path: JsonFile = None
