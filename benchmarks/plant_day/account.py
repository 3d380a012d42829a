"""The day's account: what became of every image and every run, and which promises were broken."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks.plant_day.cameras import Mailbox, Picture
from benchmarks.plant_day.day import Day
from benchmarks.plant_day.processes import Processes
from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import Ruling
from deploy.results.drift_rows import drift_alarms
from deploy.results.schema import ResultRow
from deploy.results.store import ResultStore
from pipeline.calibration import Decision

Figures = dict[str, Any]
_UNDER_WAY = ("RUNNING", "PENDING", "CANCELLING")
PROMISES = ("lost", "duplicated", "untold", "stuck_runs", "slots_held", "unfinished")
"""Figures that have to be 0, or none."""


def runs_at_the_end(processes: Processes) -> Figures:
    """Runs that nobody ends, and slots that nobody frees."""
    states = [run.state.type.value for run in processes.runs() if run.state is not None]
    return {
        "runs": len(states),
        "runs_killed_and_asked_again": processes.asked_again,
        "stuck_runs": sum(state in _UNDER_WAY for state in states),
        "slots_held": processes.slots_held(),
    }


def images_at_the_end(day: Day, mailbox: Mailbox) -> Figures:
    """Each picture that a camera wrote against the rows of the store, and against what the receiver was told."""
    pictures = day.pictures()
    with ResultStore(day.settings.database) as store, store.session() as session:
        rows = session.execute(select(ResultRow.image_sha256, ResultRow.bundle_id)).all()
    counted = Counter((content, bundle) for content, bundle in rows if content is not None)
    scored = {content for content, _ in counted}
    told = Counter((m["image_sha256"], m["bundle_id"]) for _, m in mailbox.messages())
    delays = _delays(pictures, mailbox)
    return {
        "images": len(pictures),
        "lost": len(pictures.keys() - scored),
        "duplicated": sum(count - 1 for count in (*counted.values(), *told.values())),
        "untold": sum(not mailbox.knows(content) for content in pictures),
        "scored_by_two_versions": len(counted) - len(scored),
        "messages": len(mailbox.messages()),
        "messages_that_came_twice": mailbox.repeated,
        "message_delay_p50_s": round(float(np.percentile(delays, 50)), 2),
        "message_delay_p99_s": round(float(np.percentile(delays, 99)), 2),
    }


def lines_at_the_end(day: Day, mailbox: Mailbox) -> Figures:
    """What the lines' versions came of, and what they missed."""
    registry, noted, pictures = Registry(day.settings.home), day.noted, day.pictures()
    lines = registry.lines()
    records = [record for line in lines for record in registry.versions(line)]
    decisions = [decision for line in lines for decision in registry.decisions(line)]
    with ResultStore(day.settings.database) as store:
        alarms = len(drift_alarms(store)) - noted.alarms_before
    found = {
        "lines": len(lines),
        "adaptations": len(records),
        "gates_failed": sum(decision.ruling is Ruling.HELD for decision in decisions),
        "rollbacks": sum(decision.ruling is Ruling.ROLLED_BACK for decision in decisions),
        "drift_alarms": alarms,
        "false_alarms": noted.alarms_before,
        "verdicts": noted.verdicts,
        "taken_up": sum(len(one.manifest.support.taken_up) for one in records if one.manifest is not None),
    }
    for when, version in (("before", noted.first), ("after", noted.taught)):
        found |= _missed(when, version, mailbox, pictures)
    return found


def _missed(when: str, version: str, mailbox: Mailbox, pictures: dict[str, Picture]) -> Figures:
    """Of the first line's images before the drift: defects that passed, and good parts that were rejected."""

    def share(*, defective: bool, decision: Decision) -> tuple[float | None, int]:
        of = [
            message["decision"] == decision.value
            for _, message in mailbox.messages()
            if message["bundle_version"] == version
            and (picture := pictures[message["image_sha256"]]).gain == 1
            and picture.defective is defective
        ]
        return (round(float(np.mean(of)), 3) if of else None), len(of)

    missed, defects = share(defective=True, decision=Decision.PASS)
    rejected, good = share(defective=False, decision=Decision.REJECT)
    return {
        f"missed_{when}": missed,
        f"defects_{when}": defects,
        f"good_rejected_{when}": rejected,
        f"good_{when}": good,
    }


def _delays(pictures: dict[str, Picture], mailbox: Mailbox) -> list[float]:
    """Seconds from a picture's writing to its first message, of those written after its line's first message."""
    began: dict[str, float] = {}
    first: dict[str, float] = {}
    for at, message in mailbox.messages():
        began.setdefault(message["line"], at)
        first.setdefault(message["image_sha256"], at)
    written = {content: pictures[content] for content in first}
    due = {content: one for content, one in written.items() if one.written_at > began[one.line]}
    return [first[content] - one.written_at for content, one in due.items()]
