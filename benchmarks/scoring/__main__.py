"""The scoring benchmark: points 1 to 6, figures to benchmarks/out/scoring.json.

    python -m benchmarks.scoring [--quick] [--points 1,3] [--lines LINES] [--write]

Ratios are medians of rounds in which both sides take turns. `--lines` names real product lines for parity.
LINEWISE_ANOMALIB_PYTHON names the interpreter of an environment with anomalib; without it point 2 is left out. Points
that are not named keep the figures of their last run. `--write` puts the table into scoring.md.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.scoring import adaptation, end_to_end, endurance, many_lines, peers
from benchmarks.scoring.setting import WORKERS, Setting, cpu_ticks, prepare, stolen_share
from benchmarks.study import made_today, options, replace_figures
from benchmarks.tables import table
from pipeline.process_tuning import tune_process

HERE = Path(__file__).resolve().parents[1]
OUT = HERE / "out"
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
    """Measure the points, and make a page of their figures and of those kept."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--points", default="123456", help="which to measure, e.g. 1,3; the others keep their last run")
    parser.add_argument("--lines", type=Path)
    arguments = parser.parse_args()
    tune_process()
    points: dict[str, Point] = {
        "1": end_to_end.measure,
        "2": peers.measure,
        "3": many_lines.measure,
        "4": endurance.measure,
        "5": adaptation.measure_cost,
        "6": lambda setting: adaptation.measure_parity(setting, arguments.lines),
    }
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="linewise-bench-") as root:
        setting = prepare(Path(root), quick=arguments.quick)
        for number, measure in points.items():
            if number in arguments.points:
                result = _measured(number, measure, setting)
                _file(number).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
                print(f"{number}: {json.dumps(result)}", flush=True)
    results = [json.loads(_file(number).read_text()) for number in points if _file(number).is_file()]
    figures: dict[str, float | None] = dict.fromkeys(TARGETS)
    for result in results:
        figures |= result["figures"]
    (OUT / "scoring.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    page = _page(figures, results)
    print(page)
    if arguments.write:
        replace_figures(HERE / "scoring.md", page)


def _measured(number: str, measure: Point, setting: Setting) -> dict[str, Any]:
    """A point's figures and remarks, and the circumstances."""
    began, ticks = time.monotonic(), cpu_ticks()
    figures, told = measure(setting)
    how = f"{'quick, ' if setting.quick else ''}{(time.monotonic() - began) / 60:.1f} minutes"
    stolen = f"other virtual machines took {stolen_share(ticks):.0%} of the CPU time"
    return {
        "figures": figures,
        "told": told,
        "made": f"Point {number}: {made_today()}, {how}, {WORKERS} cores, {stolen}.",
    }


def _file(number: str) -> Path:
    return OUT / f"scoring-{number}.json"


def _page(figures: dict[str, float | None], results: list[dict[str, Any]]) -> str:
    rows = [[key, _cell(figures[key]), target] for key, target in TARGETS.items()]
    remarks = [f"- {result['made']} {' '.join(result['told'])}" for result in results]
    return "\n".join([*table(("figure", "measured", "target"), rows), "", *remarks])


def _cell(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
