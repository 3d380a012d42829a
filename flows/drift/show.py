"""What the command says of a look at the lines' streams."""

from __future__ import annotations

from datetime import UTC, datetime

from deploy.drift.words import since_text
from deploy.results.schema import DriftAlarmRow
from flows.drift import job
from flows.drift.request import WatchDriftRequest
from flows.terminal.console import literal, out
from pipeline.settings import load_settings


def show(_request: WatchDriftRequest, result: job.WatchDriftResult) -> int:
    """Each line's new images, and the alarms, with images of before and after; 1 where there are any."""
    for found in result.watched:
        rate = f"no more than one false alarm in {found.images_per_alarm:,.0f}"
        out().print(literal(f"{found.line}: {found.new:,} new images of {found.images:,}; {rate}"))
    for line in result.untold:
        for alarm in line.alarms:
            show_alarm(alarm)
        job.told(line.alarms, load_settings())
    return int(bool(result.untold))


def show_alarm(alarm: DriftAlarmRow) -> None:
    """An alarm's sentence and the paths of an image of before and one of after."""
    out().print(f"[bold red]{literal(sentence(alarm))}")
    for when, paths in (("before", alarm.before), ("after", alarm.after)):
        out().print(literal(f"  {when}: {paths[-1] if paths else 'none is kept'}"))


def sentence(alarm: DriftAlarmRow) -> str:
    """An alarm in words: "bottling/caps: 20 % darker since 14:05"."""
    return f"{alarm.line}: {changed(alarm)}"


def changed(alarm: DriftAlarmRow) -> str:
    """An alarm in words, of a line that is known: "20 % darker since 14:05"."""
    return f"{alarm.words} {since_text(alarm.since, datetime.now(UTC))}"
