"""The scoring benchmark: points 1 and 3 to 6, figures to benchmarks/out/scoring.json.

    python -m benchmarks.scoring [--quick] [--points 1,3] [--lines LINES] [--write]

Ratios are medians of rounds in which both sides take turns. `--lines` names real product lines for parity. Point 2,
against anomalib, is not measured; its keys are null. `--write` puts the table into scoring.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.pages import made_today, replace_figures
from benchmarks.scoring import adaptation, end_to_end, endurance, many_lines
from benchmarks.scoring.setting import WORKERS, Setting, cpu_ticks, prepare, stolen_share
from pipeline.process_tuning import tune_process

HERE = Path(__file__).resolve().parents[1]
TARGETS = {
    "end_to_end_over_stage_sum": "at least 0.95",
    "end_to_end_over_bare_ort_jpeg": "at least 0.70",
    "end_to_end_over_bare_ort_bmp": "at least 0.80",
    "end_to_end_over_bare_ort_tiff": "at least 0.80",
    "over_anomalib_torch": "at least 4",
    "over_anomalib_openvino": "at least 1.5",
    "throughput_200_lines_over_1": "",
    "mb_per_further_line": "",
    "throughput_end_over_start": "",
    "rss_drift_mb": "at most 10",
    "adapt_seconds": "",
    "adapt_peak_mb": "",
    "parity_max_score": "",
    "parity_max_map": "",
}
Point = Callable[[Setting], tuple[dict[str, float], list[str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--points", default="13456", help="which to measure, e.g. 1,3; the others stay null")
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    tune_process()
    points: dict[str, Point] = {
        "1 end to end": end_to_end.measure,
        "3 many lines": many_lines.measure,
        "4 endurance": endurance.measure,
        "5 adaptation": adaptation.measure_cost,
        "6 parity": lambda setting: adaptation.measure_parity(setting, arguments.lines),
    }
    figures: dict[str, float | None] = dict.fromkeys(TARGETS)
    remarks: list[str] = []
    started, ticks = time.monotonic(), cpu_ticks()
    with tempfile.TemporaryDirectory(prefix="linewise-bench-") as root:
        setting = prepare(Path(root), quick=arguments.quick)
        for name, measure in points.items():
            if name[0] not in arguments.points:
                continue
            began = time.monotonic()
            measured, told = measure(setting)
            figures |= measured
            remarks += told
            print(f"{name}: {json.dumps(measured)} ({time.monotonic() - began:.0f} s)\n  {' '.join(told)}", flush=True)
    out = HERE / "out" / "scoring.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    minutes = (time.monotonic() - started) / 60
    how = "quick, " if arguments.quick else ""
    rows = [f"| {key} | {_cell(figures[key])} | {target} |" for key, target in TARGETS.items()]
    head = (
        f"{made_today()}, {how}{minutes:.1f} minutes, {WORKERS} CPU cores, no GPU; "
        f"other virtual machines took {stolen_share(ticks):.1%} of the CPU time."
    )
    page = "\n".join(
        [head, "", "| figure | measured | target |", "|---|---|---|", *rows, "", *(f"- {remark}" for remark in remarks)]
    )
    print(page)
    if arguments.write:
        replace_figures(HERE / "scoring.md", page)


def _cell(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
