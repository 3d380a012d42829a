"""What changed in a line's stream, in words and with its size: from the images before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from deploy.drift.detector import STATISTICS, numbers_of, profiles_of
from deploy.drift.place import PLACE, moved
from deploy.results.drift_rows import StreamRow
from pipeline.imaging.encoded import size_text

_ANOTHER = 0.5  # of the profiles' variance unexplained: no shift or zoom makes such a picture
_LEAST_SHIFT, _LEAST_ZOOM = 0.004, 0.01


class Told(NamedTuple):
    """A change: in the statistic's own measure, and in words that a time can follow: "20 % darker"."""

    change: float
    words: str


def tell(statistic: str, before: Sequence[StreamRow], after: Sequence[StreamRow]) -> Told:
    """What changed, of images before and after; at least one of each."""
    if statistic in PLACE:
        return _place(before, after)
    column = STATISTICS.index(statistic)
    old, new = (numbers_of(rows)[:, column] for rows in (before, after))
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    if not len(old) or not len(new):  # rows were deleted meanwhile
        return Told(0.0, f"{statistic} is another")
    was, now = float(np.median(old)), float(np.median(new))
    match statistic:
        case "score":
            place = float((old < now).mean())
            where = "above all before" if place == 1 else f"at the {_ordinal(place)} percentile of those before"
            where = "below all before" if place == 0 else where
            return Told(now - was, f"scores {'rose' if now > was else 'fell'}: their median is {where}")
        case "brightness":
            return _ratio(now, was, "{} brighter", "{} darker")
        case "contrast":
            return _ratio(now, was, "contrast up by {}", "contrast down by {}")
        case "fineness":
            finer = "fine detail up by {}: noise, or a sharper image"
            return _ratio(math.exp(now), math.exp(was), finer, "sharpness down by {}")
        case "red" | "blue":
            return Told(now - was, f"{'more' if now > was else 'less'} {statistic}, by {_percent(abs(now - was))} of the brightness")
        case "depth":
            return Told(now - was, f"images are of {_depth(now)} instead of {_depth(was)}")
        case _:
            return Told(now - was, f"images are {_size(after)} instead of {_size(before)}")


def since_text(since: datetime, now: datetime) -> str:
    """A time as people here say it, with its day where that is another than `now`'s."""
    local, today = since.astimezone(), now.astimezone()
    return f"since {local:%H:%M}" if local.date() == today.date() else f"since {local:%Y-%m-%d %H:%M}"


def _place(before: Sequence[StreamRow], after: Sequence[StreamRow]) -> Told:
    with np.errstate(invalid="ignore"):
        old, new = (np.nanmean(profiles_of(rows), 0) for rows in (before, after))
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return Told(0.0, "things stand elsewhere")
    across, down, zoom, rest = moved(old, new)
    if rest > _ANOTHER:
        return Told(rest, "another picture")
    height, width = after[-1].height or 0, after[-1].width or 0
    parts = []
    for shift, length, ways in ((across, width, ("right", "left")), (down, height, ("bottom", "top"))):
        if abs(shift) >= _LEAST_SHIFT:
            parts.append(f"shifted by about {abs(shift) * length:.0f} px to the {ways[shift < 0]}")
    if abs(zoom) >= _LEAST_ZOOM:
        parts.append(f"{'larger' if zoom > 0 else 'smaller'} by about {_percent(abs(zoom))}")
    size = max(abs(across), abs(down), abs(zoom))
    return Told(size, " and ".join(parts) if parts else "things stand or are lit a little otherwise within the image")


def _ratio(now: float, was: float, up: str, down: str) -> Told:
    change = now / max(was, 0.5) - 1
    return Told(change, (up if change > 0 else down).format(_percent(abs(change))))


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.01 else f"{100 * share:.1g} %"


def _ordinal(share: float) -> str:
    number = round(100 * share)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _depth(bits: float) -> str:
    kind = "colour" if bits % 3 == 0 else "mono"
    return f"{bits / 3 if kind == 'colour' else bits:.0f} bit in {kind}"


def _size(rows: Sequence[StreamRow]) -> str:
    sizes = [(row.height, row.width) for row in rows if row.height is not None and row.width is not None]
    return size_text(max(set(sizes), key=sizes.count)) if sizes else "of another size"
