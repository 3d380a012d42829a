"""A day of a plant in minutes, with what goes wrong in it; figures to benchmarks/out/plant_day.json.

    LINEWISE_LINES=LINES python -m benchmarks.plant_day [--quick] [--plant-lines 6] [--seed 0]
        [--start-seconds 300] [--keep FOLDER] [--write]

Ends with 1 where an image was lost or scored twice by one version, a run stands as if it ran, a slot is held, store and
registry contradict each other, or a step did not come to its end.
Every other line is a real one of LINEWISE_LINES, where that folder is; the others are generated. The whole day wants
mosquitto and PostgreSQL, which it starts; with --quick there is a webhook and SQLite.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from benchmarks.plant_day.account import (
    PROMISES,
    Figures,
    contradictions,
    images_at_the_end,
    lines_at_the_end,
    runs_at_the_end,
)
from benchmarks.plant_day.cameras import Camera, Mailbox, wait_for
from benchmarks.plant_day.day import STEPS, Day
from benchmarks.plant_day.faults import Faults
from benchmarks.plant_day.processes import Processes
from benchmarks.plant_day.products import products
from benchmarks.plant_day.surroundings import Surroundings, small, whole
from benchmarks.study import made_today, one_or_more, options, replace_figures
from benchmarks.tables import table

HERE = Path(__file__).resolve().parents[1]
_RING = 24  # names that the second line's camera uses in turn
_ENDING_SECONDS = 300.0  # a run whose engine was killed is ended after 90 without a heartbeat


def main() -> None:
    """Live the day, tell its figures, and end with 1 where a promise was broken."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--quick", action="store_true", help="two lines, short stretches, no broker, no database")
    parser.add_argument("--plant-lines", type=one_or_more, help="lines of the plant (default: 6, quick: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of parts, pictures and the moments of killing")
    parser.add_argument(
        "--start-seconds", type=float, help="that a run may take to start (default: as registered, 300)"
    )
    parser.add_argument("--keep", type=Path, help="folder for the home and the logs (default: they go)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linewise-day-") as scratch:
        root = asked.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        lines = max(2, asked.plant_lines or (2 if asked.quick else 6))
        mailbox = Mailbox()
        around = small(mailbox) if asked.quick else whole(root, mailbox)
        stretch = 30 if asked.quick else 120
        figures = live(root, lines, asked.seed, mailbox, around, stretch=stretch, start_seconds=asked.start_seconds)
    out = HERE / "out" / "plant_day.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")
    rows = [[name.replace("_", " "), _told(value)] for name, value in figures.items()]
    told = "\n".join([f"{made_today()}.", "", *table(["figure", "value"], rows)])
    print(told)
    if asked.write:
        replace_figures(HERE / "plant_day.md", told)
    if broken := [f"{name}: {figures[name]}" for name in PROMISES if figures[name]]:
        sys.exit(f"broken promises: {', '.join(broken)}")


def live(
    root: Path,
    lines: int,
    seed: int,
    mailbox: Mailbox,
    around: AbstractContextManager[Surroundings],
    *,
    stretch: int,
    start_seconds: float | None,
) -> Figures:
    """The day below a folder, and its figures; `unfinished`: what did not come to its end."""
    began, made = time.monotonic(), products(lines, seed)
    unfinished: str | None = None
    folders = root / "cameras"
    folders.mkdir()
    cameras = [
        Camera(one, folders / one.line, mailbox, seed=seed + n, a_second=1.5, ring=_RING if n == 1 else None)
        for n, one in enumerate(made)
    ]
    with around as surroundings:
        processes = Processes(root, folders, port=_free_ports(), surroundings=surroundings)
        faults = Faults(processes, STEPS, seed)
        day = Day(processes, made, cameras, mailbox, root / "labelled", faults, stretch=stretch)
        try:
            processes.up()
            if start_seconds is not None:
                processes.let_runs_start_in(start_seconds)
            processes.keep_scorer()
            try:
                day.go()
                day.finish()
            except (TimeoutError, RuntimeError) as error:  # what did happen is accounted for all the same
                unfinished = str(error)
            with suppress(TimeoutError):  # the figures tell of it
                wait_for(lambda: not runs_at_the_end(processes)["stuck_runs"], "the end of all runs", _ENDING_SECONDS)
            ended = runs_at_the_end(processes)
        finally:
            for camera in cameras:
                camera.stop()
            processes.down()
        return {
            **images_at_the_end(day, mailbox),
            **ended,
            "contradictions": contradictions(day),
            **lines_at_the_end(day),
            "killed": faults.done,
            "held": day.noted.held,
            "unfinished": unfinished,
            "seconds_of_steps": faults.took,
            "minutes": round((time.monotonic() - began) / 60, 1),
        }


def _free_ports() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return "; ".join(map(str, value)) or "-" if isinstance(value, list) else "-" if value is None else str(value)


if __name__ == "__main__":
    main()
