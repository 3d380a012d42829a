"""Faults by hand: `make faults` kills 200 processes and is away for a minute, `make faults QUICK=1` 14 and a second.

    python -m tests.faults [--kills 200] [--seconds 60] [--rounds 1] [--seed 0] [--faults "kill scoring,disk full"]
        [--write]

What is drawn comes from the seed and the fault's name alone; how far work has come at a moment depends on the machine.
The kills are shared out evenly over the work that is killed. What a fault found is kept below benchmarks/out/faults/,
figures in benchmarks/out/faults.json; `--write` puts the table into benchmarks/faults.md. Ends with 1 where something
was found.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.study import made_today, replace_figures
from benchmarks.tables import table
from tests.checkout import REPOSITORY
from tests.faults.fault import SkippedError, Trial
from tests.faults.faults import FAULTS
from tests.faults.scene import Stage

OUT = REPOSITORY / "benchmarks" / "out"
PAGE = REPOSITORY / "benchmarks" / "faults.md"


class Outcome(NamedTuple):
    """What became of a fault: held, found or skipped, and in words what was found or why it was skipped."""

    verdict: str
    counted: dict[str, int]
    seconds: float
    what: str = ""


def try_fault(name: str, stage: Stage, *, kills: int, seconds: float, rounds: int, seed: int) -> Outcome:
    """Make a fault happen, with homes of a stage."""
    trial = Trial(stage, Random(f"{seed}:{name}"), kills, seconds)
    began = time.monotonic()
    verdict, what = "held", ""
    try:
        for _ in range(1 if name.startswith("kill ") else rounds):
            FAULTS[name](trial)
    except SkippedError as reason:
        verdict, what = "skipped", str(reason)
    except Exception as error:
        text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
        verdict, what = "found", text.strip()
    return Outcome(verdict, trial.counted, time.monotonic() - began, what)


def main() -> int:
    """Try all faults, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of all kinds together")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a database is locked or away")
    parser.add_argument("--rounds", type=int, default=1, help="of each fault that is no kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default=",".join(FAULTS), help="some of them, with commas")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/faults.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing stays mounted or goes on
    for name in [name for name in os.environ if name.startswith("LINEWISE_") and "TEST" not in name]:
        del os.environ[name]  # a home or a database of the one who runs this is no place for faults
    names = asked.faults.split(",")
    kinds = sum(name.startswith("kill ") for name in names)
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="linewise-faults-") as root:
        stage = Stage(Path(root))
        for number, name in enumerate(names):
            kills = (asked.kills + number) // max(kinds, 1)
            outcomes[name] = outcome = try_fault(
                name, stage, kills=kills, seconds=asked.seconds, rounds=asked.rounds, seed=asked.seed
            )
            told = f": {outcome.what}" if outcome.what else ""
            print(f"{outcome.verdict}: {name}, {outcome.seconds:.0f} s, {_counted(outcome)}{told}", flush=True)
            _write_figures(asked, outcomes)
    page = _write_figures(asked, outcomes)
    print(page)
    if asked.write:
        replace_figures(PAGE, page)
    return 1 if any(outcome.verdict == "found" for outcome in outcomes.values()) else 0


def _counted(outcome: Outcome) -> str:
    return ", ".join(f"{count} {what}" for what, count in outcome.counted.items()) or "nothing counted"


def _write_figures(asked: argparse.Namespace, outcomes: dict[str, Outcome]) -> str:
    """Figures to faults.json; returns the page's table."""
    OUT.mkdir(exist_ok=True)
    told = {
        "kills": asked.kills,
        "seconds_away": asked.seconds,
        "seed": asked.seed,
        "faults": {name: outcome._asdict() for name, outcome in outcomes.items()},
    }
    (OUT / "faults.json").write_text(json.dumps(told, indent=2) + "\n")
    kills = sum(outcome.counted.get("kills", 0) for outcome in outcomes.values())
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    head = (
        f"{made_today()}, seed {asked.seed}, {kills} kills, databases away for {asked.seconds:g} s, "
        f"{seconds / 60:.0f} minutes of a shared machine."
    )
    rows = [
        [name, _counted(outcome), outcome.verdict + (f": {outcome.what.splitlines()[-1]}" if outcome.what else "")]
        for name, outcome in outcomes.items()
    ]
    return "\n".join([head, "", *table(["fault", "done", "outcome"], rows)])


if __name__ == "__main__":
    sys.exit(main())
