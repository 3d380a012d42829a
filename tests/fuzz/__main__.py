"""Fuzzing by hand: `make fuzz` runs 100,000 inputs, `make fuzz QUICK=1` as many as go into four minutes.

    python -m tests.fuzz [--inputs 100000] [--seconds N] [--seed 0] [--surfaces decoding,masks] [--workers 1] [--write]
    python -m tests.fuzz --replay decoding:123

Each input comes from its surface, its number and the seed alone, so that it can be made again anywhere; `--replay`
makes one, writes its files and says what becomes of it, in this process without limits. Findings are kept below
benchmarks/out/fuzz/, figures in benchmarks/out/fuzz.json; `--write` puts the table into benchmarks/fuzz.md. Ends with 1
where something was found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.study import made_today, replace_figures
from benchmarks.tables import table
from pipeline.storage import replace_file
from tests.checkout import REPOSITORY
from tests.fuzz.campaign import (
    CPU_SECONDS,
    KINDS,
    MAX_PIXELS,
    MEGABYTES,
    Finding,
    Tally,
    input_of,
    judged,
    run_campaign,
)
from tests.fuzz.surfaces import SURFACES

OUT = REPOSITORY / "benchmarks" / "out"
PAGE = REPOSITORY / "benchmarks" / "fuzz.md"


def main() -> int:
    """Run the campaign, or one input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many, between two batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surfaces", default=",".join(SURFACES), help="some of them, with commas")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--replay", metavar="SURFACE:NUMBER")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/fuzz.md")
    arguments = parser.parse_args()
    os.environ["LINEWISE_MAX_PIXELS"] = str(MAX_PIXELS)
    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.seed)
    surfaces = {name: SURFACES[name] for name in arguments.surfaces.split(",")}
    shutil.rmtree(OUT / "fuzz", ignore_errors=True)
    tallies: dict[str, Tally] = defaultdict(Tally)
    findings: list[Finding] = []
    began = time.monotonic()
    for news in run_campaign(surfaces, arguments.seed, arguments.inputs, arguments.workers):
        if isinstance(news, Finding):
            findings.append(news)
            print(f"{news.kind}: {news.surface}:{news.number} {news.what}", flush=True)
            _keep(news, arguments.seed)
        else:
            name, tally = news
            tallies[name].inputs += tally.inputs
            tallies[name].outcomes += tally.outcomes
            tallies[name].seconds += tally.seconds
            _write_figures(arguments, tallies, findings, time.monotonic() - began)
        if time.monotonic() - began > arguments.seconds:
            break
    page = _write_figures(arguments, tallies, findings, time.monotonic() - began)
    print(page)
    if arguments.write:
        replace_figures(PAGE, page)
    return 1 if findings else 0


def _replay(which: str, seed: int) -> int:
    name, _, number = which.rpartition(":")
    made = input_of(SURFACES[name], seed, int(number))
    folder = _folder(name, int(number), seed)
    made.write(folder)
    print(f"{made.done}; files in {folder}")
    outcome, what = judged(SURFACES[name], made)
    print(f"{outcome}: {what}" if what else outcome)
    return 1 if outcome in KINDS else 0


def _folder(name: str, number: int, seed: int) -> Path:
    return OUT / "fuzz" / f"{name.replace(' ', '_')}-{number}-of-seed-{seed}"


def _keep(finding: Finding, seed: int) -> None:
    made = input_of(SURFACES[finding.surface], seed, finding.number)
    folder = _folder(finding.surface, finding.number, seed)
    made.write(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {key: repr(value)[:2000] for key, value in made.facts.items()}
    told = {"kind": finding.kind, "what": finding.what, "done": made.done, "facts": facts}
    (folder / "finding.json").write_text(json.dumps(told, indent=2) + "\n")


def _write_figures(arguments: Any, tallies: dict[str, Tally], findings: list[Finding], seconds: float) -> str:
    """Figures to fuzz.json; returns the page's table."""
    rows, figures = [], {}
    for name in SURFACES:
        if name not in tallies:
            continue
        tally, found = tallies[name], [finding for finding in findings if finding.surface == name]
        kinds = {kind: sum(finding.kind == kind for finding in found) for kind in KINDS}
        figures[name] = {"inputs": tally.inputs, "outcomes": tally.outcomes, "seconds": tally.seconds, **kinds}
        refused = tally.outcomes["refused"]
        other = tally.inputs - refused - sum(kinds[kind] for kind in ("memory", "error", "silence"))
        cells = [name, f"{tally.inputs:,}", f"{refused:,}", f"{other:,}", *map(str, kinds.values())]
        rows.append([*cells, f"{1000 * tally.seconds / max(tally.inputs, 1):.0f}"])
    inputs = sum(tally.inputs for tally in tallies.values())
    OUT.mkdir(exist_ok=True)
    told = {
        "inputs": inputs,
        "seed": arguments.seed,
        "seconds": seconds,
        "findings": len(findings),
        "surfaces": figures,
    }
    replace_file(OUT / "fuzz.json", f"{json.dumps(told, indent=2)}\n".encode(), durable=False)
    head = ["surface", "inputs", "refused", "read", "crash", "hang", "memory", "error", "silence", "ms an input"]
    limits = f"{MEGABYTES} MB and {CPU_SECONDS} s of CPU an input"
    head_line = (
        f"{made_today()}, {inputs:,} inputs of seed {arguments.seed}, {limits}, {seconds / 60:.0f} minutes of a shared "
        "machine."
    )
    return "\n".join([head_line, "", *table(head, rows)])


if __name__ == "__main__":
    sys.exit(main())
