"""What the rows of a scenario differ in: names that jobs write and tables read. The scenarios' modules explain them."""

from __future__ import annotations

from enum import StrEnum


class HeadOrigin(StrEnum):
    """How a row's head came to be: the row key `adaptation`."""

    UNSHIFTED = "unshifted"
    STALE = "stale"
    UNADAPTED = "unadapted"
    RE_ADAPTED = "re-adapted"
    OWN = "own"
    SHARED = "shared"


AS_TAKEN = "as taken"
"""The row key `condition` of an unshifted row; that of a shifted one is the shift's name."""


class Update(StrEnum):
    """What the trunk's update is trained on: the row key `condition` of an incremental row."""

    REPLAY = "replay"
    NEWEST = "newest line alone"
