"""What changed in a line's stream, in words and with its size: from the images before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.drift.detector import STATISTICS, numbers_of, profiles_of
from deploy.drift.place import PLACE, moves, unlikeness
from deploy.results.drift_rows import StreamRow
from pipeline.imaging.encoded import size_text

_ANOTHER = 0.5  # of the profiles' variance that the light leaves unexplained
_EXPLAINED = 0.4  # of that, at most, is left by a shift or zoom that is told
_UNLIKE = 0.3  # where a line's images differ by more, no shift is seen
_LEAST_SHIFT, _LEAST_ZOOM = 0.004, 0.02
_RATIOS = {
    "brightness": ("{} brighter", "{} darker"),
    "contrast": ("contrast up by {}", "contrast down by {}"),
    "fineness": ("fine detail up by {}: noise, or a sharper image", "sharpness down by {}"),
}
"""Of the statistics whose change is a factor: what is said where it is above 1, and below."""

LEAST = {"brightness": 0.01, "contrast": 0.01, "fineness": 0.01, "red": 0.004, "blue": 0.004}
"""Changes that are no alarm, however sure they are: as shares of what was, of colours as shares of the brightness (half
a grey level at 128). Of a score, a size or a place every change that is sure is told."""

_OTHERWISE = "things stand or are lit otherwise within the image"


class Told(NamedTuple):
    """A change: in the statistic's own measure, and in words that a time can follow: "20 % darker".

    `matters`: whether the median or the mean changed by `LEAST` at least.
    """

    change: float
    words: str
    matters: bool = True


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
    means = float(old.mean()), float(new.mean())
    if statistic in _RATIOS:
        change = _share(statistic, now, was)
        matters = max(abs(change), abs(_share(statistic, means[1], means[0]))) >= LEAST[statistic]
        up, down = _RATIOS[statistic]
        return Told(change, (up if change > 0 else down).format(_percent(abs(change))), matters)
    direction = now > was
    match statistic:
        case "score":
            words = f"scores {'rose' if direction else 'fell'}: their median is {_placed(now, old)}"
        case "red" | "blue":
            share = _percent(abs(now - was))
            words = f"{'more' if direction else 'less'} {statistic}, by {share} of the brightness"
        case "depth":
            words = f"images are of {_depth(now)} instead of {_depth(was)}"
        case _:
            words = f"images are {_size(after)} instead of {_size(before)}"
    matters = max(abs(now - was), abs(means[1] - means[0])) >= LEAST.get(statistic, 0.0)
    return Told(now - was, words, matters)


def since_text(since: datetime, now: datetime) -> str:
    """A time as people here say it, with its day where that is another than `now`'s."""
    local, today = since.astimezone(), now.astimezone()
    return f"since {local:%H:%M}" if local.date() == today.date() else f"since {local:%Y-%m-%d %H:%M}"


def _place(before: Sequence[StreamRow], after: Sequence[StreamRow]) -> Told:
    known, found = (profiles[np.isfinite(profiles[:, 0])] for profiles in map(profiles_of, (before, after)))
    if not len(known) or not len(found):  # rows were deleted meanwhile
        return Told(0.0, _OTHERWISE)
    old, new = known.mean(0), found.mean(0)
    across, down = moves(old, new)
    alike = unlikeness(known) <= _UNLIKE
    sure = [move for move in (across, down) if alike and move.rest <= _EXPLAINED * move.still]
    zoom = float(np.mean([move.zoom for move in sure])) if sure else 0.0
    height, width = after[-1].height or 0, after[-1].width or 0
    parts = []
    for move, length, ways in ((across, width, ("to the right", "to the left")), (down, height, ("down", "up"))):
        if move in sure and abs(move.shift) >= _LEAST_SHIFT:
            parts.append(f"shifted by about {abs(move.shift) * length:.0f} px {ways[move.shift < 0]}")
    if abs(zoom) >= _LEAST_ZOOM:
        parts.append(f"{'larger' if zoom > 0 else 'smaller'} by about {_percent(abs(zoom))}")
    if parts:
        return Told(max(abs(zoom), *(abs(move.shift) for move in sure)), " and ".join(parts))
    rest = (across.still + down.still) / 2
    if alike and rest > _ANOTHER:
        return Told(rest, "another picture")
    return Told(rest, _OTHERWISE)


def _share(statistic: str, now: float, was: float) -> float:
    """A change as a share of what was."""
    if statistic == "fineness":
        now, was = math.exp(now), math.exp(was)
    return now / max(was, 0.01) - 1


def _placed(now: float, old: NDArray[np.float64]) -> str:
    """Where a number stands among earlier ones."""
    below = float((old < now).mean())
    if below in (0, 1):
        return f"{'above' if below else 'below'} all before"
    return f"at the {_ordinal(below)} percentile of those before"


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
