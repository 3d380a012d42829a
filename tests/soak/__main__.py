"""A soak by hand: `make soak` scores for two hours, `make soak QUICK=1` for three minutes; a bundle a minute.

    python -m tests.soak [--minutes 120] [--every 0.5] [--promote-every 60] [--window 60] [--write]

A command scores what a camera writes, `linewise score-plant --watch`, and a new version of the line goes live every
minute. Memory, file descriptors, threads and the latency of each window go through a straight line over time, the first
fifth left out; a figure whose slope is beyond its bound with the whole of its 95 % interval fails. Figures go to
benchmarks/out/soak.json; `--write` puts the table into benchmarks/soak.md. Ends with 1 where a figure grew.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.study import made_today, replace_figures
from benchmarks.tables import table
from tests.checkout import REPOSITORY
from tests.soak.plant import Plant
from tests.soak.trend import Bound, Trend, trend_of

OUT = REPOSITORY / "benchmarks" / "out"
PAGE = REPOSITORY / "benchmarks" / "soak.md"
WARM_UP = 0.2  # of the time: caches fill, and arenas reach their size
END_SECONDS = 120.0

BOUNDS = {
    "memory, MiB": Bound(16.0, 8.0),
    "latency p50, ms": Bound(50.0, 200.0),
    "latency p99, ms": Bound(500.0, 1000.0),
    "file descriptors": Bound(1.0, 16.0),  # the store opens up to eight connections, two descriptors each, as needed
    "threads": Bound(1.0, 1.5),
}


class Window(NamedTuple):
    """What was seen in a window: hours since the start, and each figure of `BOUNDS`."""

    hours: float
    figures: dict[str, float]


def main() -> int:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=0.5, help="seconds from image to image")
    parser.add_argument("--promote-every", type=float, default=60.0, help="seconds from version to version")
    parser.add_argument("--window", type=float, default=60.0, help="seconds that a latency is of")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/soak.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays mounted or goes on
    for name in [name for name in os.environ if name.startswith("LINEWISE_")]:
        del os.environ[name]  # a home of the one who runs this is no place for it
    with tempfile.TemporaryDirectory(prefix="linewise-soak-") as root, Plant(Path(root), asked.every) as plant:
        windows, promotions = watch(plant, 60 * asked.minutes, asked.window, asked.promote_every)
        plant.stop(END_SECONDS)
        told = f"{len(plant.written):,} images, {promotions} promotions, {plant.versions} versions scored with"
    trends = trends_of(windows)
    grown = [name for name, trend in trends.items() if trend.grows_beyond(BOUNDS[name])]
    page = _write_figures(asked, told, windows, trends)
    print(page)
    if asked.write:
        replace_figures(PAGE, page)
    return 1 if grown else 0


def watch(plant: Plant, seconds: float, window: float, promote_every: float) -> tuple[list[Window], int]:
    """Look at a plant for so many seconds, from its first score on; the windows, and how many versions went live."""
    deadline = time.monotonic() + END_SECONDS
    while not plant.latencies():
        plant.sample()
        assert time.monotonic() < deadline, f"no image was scored: {plant.told()}"
        time.sleep(0.2)
    windows: list[Window] = []
    began = time.monotonic()
    promotions = 0
    while (now := time.monotonic() - began) < seconds:
        if now >= (promotions + 1) * promote_every:
            plant.promote()
            promotions += 1
        if now >= (len(windows) + 1) * window and (latencies := plant.latencies()):
            sample, milliseconds = plant.sample(), 1000 * np.array(latencies)
            p50, p99 = (float(np.quantile(milliseconds, q)) for q in (0.5, 0.99))
            figures = dict(zip(BOUNDS, (sample.memory_mib, p50, p99, sample.descriptors, sample.threads), strict=True))
            windows.append(Window((time.monotonic() - began) / 3600, figures))
            _keep({"windows": [seen._asdict() for seen in windows]})  # of a soak that is ended before its time, too
        time.sleep(0.2)
    return windows, promotions


def trends_of(windows: list[Window]) -> dict[str, Trend]:
    """The trend of each figure, the warm-up left out."""
    warm = [window for window in windows if window.hours >= WARM_UP * windows[-1].hours]
    hours = [window.hours for window in warm]
    return {name: trend_of(hours, [window.figures[name] for window in warm]) for name in BOUNDS}


def _keep(figures: dict[str, Any]) -> None:
    OUT.mkdir(exist_ok=True)
    (OUT / "soak.json").write_text(json.dumps(figures, indent=2) + "\n")


def _write_figures(asked: argparse.Namespace, told: str, windows: list[Window], trends: dict[str, Trend]) -> str:
    """Figures to soak.json; returns the page's table."""
    figures = {
        "minutes": asked.minutes,
        "told": told,
        "windows": [window._asdict() for window in windows],
        "trends": {name: {**trend._asdict(), "bound": BOUNDS[name]._asdict()} for name, trend in trends.items()},
    }
    _keep(figures)
    rows = [
        [
            name,
            f"{trend.mean:,.1f}",
            f"{trend.slope:+,.1f} ({trend.low:+,.1f} to {trend.high:+,.1f})",
            f"{BOUNDS[name].an_hour:+g}, at all {BOUNDS[name].at_all:+g}",
            "grew" if trend.grows_beyond(BOUNDS[name]) else "held",
        ]
        for name, trend in trends.items()
    ]
    head = (
        f"{made_today()}, {asked.minutes:g} minutes: {told}; an image every {asked.every:g} s, windows of "
        f"{asked.window:g} s, on a shared machine."
    )
    return "\n".join([head, "", *table(["figure", "mean", "growth an hour (95 %)", "bound", "outcome"], rows)])


if __name__ == "__main__":
    sys.exit(main())
