"""The day's account: what became of every image and every run, which promises were broken, and what versions miss."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import select, text

from benchmarks.plant_day.cameras import Mailbox, Picture
from benchmarks.plant_day.day import DIMMED, Day
from benchmarks.plant_day.processes import UNDER_WAY, Processes
from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import Ruling
from deploy.results.drift_rows import drift_alarms
from deploy.results.schema import ResultRow
from deploy.results.store import ResultStore
from linewise import Line
from pipeline.calibration import Decision
from pipeline.errors import LinewiseError

Figures = dict[str, Any]
PROMISES = (
    *("lost", "duplicated", "untold", "said_to_be_unreadable"),
    *("stuck_runs", "slots_held", "contradictions", "unfinished"),
)
"""Figures that have to be 0, or none."""


def runs_at_the_end(processes: Processes) -> Figures:
    """Runs that nobody ends, and slots that nobody frees."""
    return {
        "runs": len(processes.runs()),
        "runs_killed_and_asked_again": processes.asked_again,
        "commands_typed_again": processes.typed_again,
        "scorer_ended_by_itself": processes.scorer_ended,
        "stuck_runs": len(processes.runs(*UNDER_WAY)),
        "slots_held": processes.slots_held(),
    }


def images_at_the_end(day: Day, mailbox: Mailbox) -> Figures:
    """Each picture that a camera wrote against the rows of the store, and against what the receiver was told."""
    pictures = day.pictures()
    with ResultStore(day.settings.database) as store, store.session() as session:
        rows = session.execute(select(ResultRow.image_sha256, ResultRow.bundle_id)).all()
    counted = Counter((content, bundle) for content, bundle in rows if content is not None)
    scored = {content for content, _ in counted}
    told = Counter((m["image_sha256"], m["bundle_id"]) for _, m in mailbox.messages() if m["image_sha256"] is not None)
    told_of_none = [message for _, message in mailbox.messages() if message["image_sha256"] is None]
    delays = _delays(pictures, mailbox)
    return {
        "images": len(pictures),
        "lost": len(pictures.keys() - scored),
        "duplicated": sum(count - 1 for count in (*counted.values(), *told.values())),
        "untold": sum(not mailbox.knows(content) for content in pictures),
        "said_to_be_unreadable": len(told_of_none),
        "scored_by_two_versions": len(counted) - len(scored),
        "messages": len(mailbox.messages()),
        "messages_that_came_twice": mailbox.repeated,
        "message_delay_p50_s": round(float(np.percentile(delays, 50)), 2),
        "message_delay_p99_s": round(float(np.percentile(delays, 99)), 2),
    }


def contradictions(day: Day) -> list[str]:
    """Where the store is damaged, the registry is, or one does not know what the other says."""
    registry, found = Registry(day.settings.home), list[str]()
    versions = [(line, record.version) for line in registry.lines() for record in registry.versions(line)]
    known: set[str] = set()
    for line, version in versions:
        try:
            known.add(registry.deployment(line, version).bundle.id)
        except LinewiseError as error:
            found.append(f"{line} {version}: {error}")
    with ResultStore(day.settings.database) as store:
        with store.session() as session:
            used = set(session.scalars(select(ResultRow.bundle_id).distinct()))
            if session.get_bind().dialect.name == "sqlite":
                told = session.scalars(text("PRAGMA integrity_check")).all()
                found += [] if told == ["ok"] else map(str, told)
                found += [f"no parent: {row}" for row in session.execute(text("PRAGMA foreign_key_check"))]
        found += [f"results of {bundle[:16]}, which no line has" for bundle in used - known]
        found += [f"{one.waiting} messages wait, {one.refused} are refused" for one in store.outbox.counts()]
        said = len(store.verdicts(day.line, overruled=True))
        answers, unsure = day.noted.answers.total(), day.noted.unsure_answers
        if not answers <= said <= answers + unsure:
            found.append(f"{said} verdicts of {answers} answers and {unsure} that may not have arrived")
    return found


def lines_at_the_end(day: Day) -> Figures:
    """What the lines' versions came of, and what they miss."""
    registry, noted = Registry(day.settings.home), day.noted
    lines = registry.lines()
    records = [(line, record) for line in lines for record in registry.versions(line)]
    decided = [(line, decision) for line in lines for decision in registry.decisions(line)]
    promoted = {(line, one.version) for line, one in decided if one.ruling is Ruling.PROMOTED}
    with ResultStore(day.settings.database) as store:
        alarms = len(drift_alarms(store)) - noted.alarms_before
    found = {
        "lines": len(lines),
        "adaptations": len(records),
        "gates_failed": sum(one.ruling is Ruling.HELD for _, one in decided),
        "rollbacks": sum(one.ruling is Ruling.ROLLED_BACK for _, one in decided),
        "drift_alarms": alarms,
        "false_alarms": noted.alarms_before,
        "verdicts": noted.answers.total(),
        "verdicts_of_random_questions": noted.answers["random"],
        "taken_up": sum(
            len(one.manifest.support.taken_up)
            for line, one in records
            if one.manifest is not None and (line, one.version) in promoted
        ),
    }
    for when, version, gain in (
        ("before", noted.first, 1.0),
        ("after", noted.taught, 1.0),
        ("dimmed", noted.taught, DIMMED),
        ("at_the_end", noted.last, DIMMED),
    ):
        if version:
            found |= _missed(day, when, version, gain)
    return found


def _missed(day: Day, when: str, version: str, gain: float) -> Figures:
    """Of parts of the first line that no camera showed: defects that pass, and good parts that are rejected."""
    product = day.first
    with Line.open(product.line, version=version, device="cpu", home=day.settings.home) as line:
        good, defective = (
            [result.decision for result in line.score_batch(product.unseen(defective=kind, gain=gain))]
            for kind in (False, True)
        )
    promise = Registry(day.settings.home).bundle(product.line, version).manifest.promise
    return {
        f"missed_{when}": round(defective.count(Decision.PASS) / len(defective), 3),
        f"good_rejected_{when}": round(good.count(Decision.REJECT) / len(good), 3),
        f"good_rejected_{when}_at_most": None if promise is None else round(promise.highest_rate, 3),
        "defects_unseen": len(defective),
        "good_unseen": len(good),
    }


def _delays(pictures: dict[str, Picture], mailbox: Mailbox) -> list[float]:
    """Seconds from a picture's writing to its first message, of those written after its line's first message."""
    began: dict[str, float] = {}
    first: dict[str, float] = {}
    for at, message in mailbox.messages():
        began.setdefault(message["line"], at)
        first.setdefault(message["image_sha256"], at)
    written = {content: pictures[content] for content in first if content in pictures}
    due = {content: one for content, one in written.items() if one.written_at > began[one.line]}
    return [first[content] - one.written_at for content, one in due.items()]
