"""New rows of a line's stream become alarms in the store, once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.drift.policy import DriftPolicy, DriftSettings, read_drift_settings, write_drift_settings
from deploy.drift.watch import watch_line
from deploy.results.drift_rows import (
    StreamRow,
    acknowledge,
    drift_alarms,
    drift_state,
    keep_drift,
    note_told,
    scored_lines,
    stream_of,
)
from deploy.results.store import ResultStore
from pipeline.errors import ConfigError
from tests.deploy.drift.camera import stream
from tests.deploy.results.result_rows import begin, scored
from tests.parts.plant import bundle_files, make_draft

LINE = make_draft().line


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", make_draft(), bundle_files())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.sqlite") as store:
        yield store


@pytest.fixture(scope="module")
def rows() -> list[StreamRow]:
    return stream(220, 40, lambda pixels: (pixels * 0.8).astype(pixels.dtype))


def add(store: ResultStore, bundle: Bundle, rows: Sequence[StreamRow]) -> None:
    run = begin(store, bundle)
    store.add(
        scored(run, bundle, row.id, score=row.score or 0.0)._replace(
            scored_at=row.scored_at,
            image_height=row.height,
            image_width=row.width,
            image_depth=row.depth,
            look_brightness=row.brightness,
            look_contrast=row.contrast,
            look_fineness=row.fineness,
            look_red=row.red,
            look_blue=row.blue,
            look_profiles=row.profiles,
        )
        for row in rows
    )


def test_a_change_is_told_once_with_its_images(store: ResultStore, bundle: Bundle, rows: list[StreamRow]) -> None:
    assert watch_line(store, LINE, DriftSettings()) is None
    add(store, bundle, rows[:200])
    first = watch_line(store, LINE, DriftSettings())
    assert first is not None
    assert (first.new, first.images, first.alarms) == (200, 200, ())
    assert first.images_per_alarm == 200 * 365

    add(store, bundle, rows[200:])
    second = watch_line(store, LINE, DriftSettings())
    assert second is not None
    assert (second.new, second.images) == (60, 260)
    alarms = {alarm.statistic: alarm for alarm in second.alarms}
    dark = alarms["brightness"]
    assert re.fullmatch(r"(19|2[0-2]) % darker", dark.words)
    assert dark.since == rows[220].scored_at
    assert dark.since < dark.noticed_at <= rows[235].scored_at
    assert dark.before == ["/images/218.png", "/images/219.png", "/images/220.png"]
    assert {int(Path(path).stem) > 220 for path in dark.after} == {True}

    again = watch_line(store, LINE, DriftSettings())
    assert again is not None
    assert (again.new, again.alarms) == (0, ())
    untold = drift_alarms(store, LINE, untold=True)
    assert {row.words for row in untold} == {alarm.words for alarm in second.alarms}
    note_told(store, untold)
    assert drift_alarms(store, untold=True) == []
    assert acknowledge(store, LINE, "Ada") == len(untold)
    assert acknowledge(store, LINE, "Bob") == 0
    assert {row.acknowledged_by for row in drift_alarms(store)} == {"Ada"}


def test_image_by_image_it_says_the_same(store: ResultStore, bundle: Bundle, rows: list[StreamRow]) -> None:
    """A look every few images ends with the same alarms as a rare one, but for the ties' random numbers."""
    for start in range(0, len(rows), 20):
        add(store, bundle, rows[start : start + 20])
        watch_line(store, LINE, DriftSettings())
    assert "brightness" in {row.statistic for row in drift_alarms(store, LINE)}
    state = drift_state(store, LINE)
    assert state is not None
    assert state.images == len(rows)


def test_another_bundle_and_another_block_begin_anew(
    store: ResultStore, bundle: Bundle, rows: list[StreamRow], tmp_path: Path
) -> None:
    add(store, bundle, rows[:200])
    watch_line(store, LINE, DriftSettings())
    again = watch_line(store, LINE, DriftSettings(block=1))
    assert again is not None
    assert again.new == 0  # the block that was chosen
    blocks = watch_line(store, LINE, DriftSettings(block=16))
    assert blocks is not None
    assert (blocks.new, blocks.images) == (192, 192)  # eight wait for their block's others
    promoted = write_bundle(tmp_path / "next", make_draft(version="20270101-000000"), bundle_files())
    later = [row._replace(scored_at=rows[-1].scored_at) for row in rows[200:]]
    add(store, promoted, later)
    found = watch_line(store, LINE, DriftSettings(block=1))
    assert found is not None
    assert (found.new, found.images, found.alarms) == (60, 60, ())
    assert scored_lines(store) == [LINE]
    now = stream_of(store, LINE)
    assert now is not None
    assert now.bundle_version == "20270101-000000"


def test_of_two_that_watch_at_once_one_notes_it(store: ResultStore, bundle: Bundle, rows: list[StreamRow]) -> None:
    add(store, bundle, rows[:100])
    early = watch_line(store, LINE, DriftSettings())
    assert early is not None
    assert early.new == 0  # too few to choose a block
    watch_line(store, LINE, DriftSettings(block=1))
    known = drift_state(store, LINE)
    assert known is not None
    assert keep_drift(store, LINE, known, known._replace(row_id=known.row_id + 1), [])
    assert not keep_drift(store, LINE, known, known._replace(row_id=known.row_id + 2), [])
    assert not keep_drift(store, LINE, None, known, [])


def test_a_lines_settings_lie_beside_its_bundles(tmp_path: Path) -> None:
    assert read_drift_settings(tmp_path, LINE) == DriftSettings()
    chosen = DriftSettings(policy=DriftPolicy.PROPOSE, alarms_a_year=0.5, block=8)
    write_drift_settings(tmp_path, LINE, chosen)
    assert read_drift_settings(tmp_path, LINE) == chosen
    (file,) = tmp_path.rglob("drift.json")
    file.write_text('{"policy": "panic"}')
    with pytest.raises(ConfigError, match=r"set them again with linewise drift"):
        read_drift_settings(tmp_path, LINE)


def test_what_is_true_and_tiny_is_no_alarm_until_its_steps_add_up(store: ResultStore, bundle: Bundle) -> None:
    known = stream(150)
    steps = [known, *([row._replace(brightness=100.0 * (1 + step / 250)) for row in stream(100)] for step in range(5))]
    quiet = [
        row._replace(score=None, contrast=None, fineness=None, red=None, blue=None, profiles=None, brightness=light)
        for number, step in enumerate(steps)
        for row, light in ((each, each.brightness if number else 100.0) for each in step)
    ]
    for number, row in enumerate(quiet):
        quiet[number] = row._replace(id=number + 1, brightness=(row.brightness or 0.0) + 0.01 * (number * 7 % 10))
    told: list[str] = []
    for start in range(0, len(quiet), 50):
        add(store, bundle, quiet[start : start + 50])
        watched = watch_line(store, LINE, DriftSettings(block=1, alarms_a_year=50))
        assert watched is not None
        told += [f"{watched.images}: {alarm.words}" for alarm in watched.alarms if alarm.statistic == "brightness"]
    assert len(told) == 1, told
    assert told[0].endswith(" % brighter")
    assert int(told[0].partition(":")[0]) > 350, "two steps of 0.4 % are none, three are"
