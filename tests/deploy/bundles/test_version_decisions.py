"""What is noted of a line's versions, and what never goes live by itself again."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from deploy.bundles import version_decisions
from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import DECISIONS, Ruling, VersionDecision, add_decision, rolled_back
from pipeline.errors import BundleError
from tests.checkout import REPOSITORY

LINE = "mvtec/pill"


def noted(registry: Registry) -> list[tuple[str, Ruling]]:
    return [(one.version, one.ruling) for one in registry.decisions(LINE)]


def test_who_promoted_and_rolled_back_and_why_is_noted(registry: Registry) -> None:
    registry.promote(LINE, "v2", by="Ada", why="fewer false rejects")
    registry.promote(LINE, "v2")
    registry.roll_back(LINE, by="Grace", why="misses scratches")
    *_, promoted, back = Registry(registry.home).decisions(LINE)
    assert (promoted.version, promoted.ruling, promoted.by, promoted.why, promoted.live) == (
        "v2",
        Ruling.PROMOTED,
        "Ada",
        ("fewer false rejects",),
        "v1",
    )
    assert (back.version, back.ruling, back.by, back.why) == ("v2", Ruling.ROLLED_BACK, "Grace", ("misses scratches",))
    assert rolled_back(registry.decisions(LINE)) == {"v2"}


def test_what_was_rolled_back_goes_live_by_a_person_s_word_only(registry: Registry) -> None:
    registry.promote(LINE, "v2")
    registry.roll_back(LINE)
    why = registry.promote_instead(LINE, "v2", "v1", by="gate", why=())
    assert why == "v2 was rolled back: only a person may promote it again"
    assert registry.live_version(LINE) == "v1"
    registry.hold(LINE, "v2", by="gate", why=(why,))
    assert rolled_back(registry.decisions(LINE)) == {"v2"}, "a gate's word does not take the person's away"
    registry.promote(LINE, "v2", by="Ada")
    assert rolled_back(registry.decisions(LINE)) == frozenset()


def test_another_promotion_meanwhile_is_not_overwritten(registry: Registry) -> None:
    registry.promote(LINE, "v3")
    why = registry.promote_instead(LINE, "v2", "v1", by="gate", why=())
    assert why == "v3 went live meanwhile, and v2 was not compared with it"
    assert registry.live_version(LINE) == "v3"
    assert registry.promote_instead(LINE, "v2", "v3", by="gate", why=()) == ""
    assert registry.live_version(LINE) == "v2"


def test_a_held_version_changes_nothing_that_is_live(registry: Registry) -> None:
    pointer = registry.home / "lines" / "mvtec%2Fpill" / "live.json"
    before = pointer.read_bytes()
    registry.hold(LINE, "v2", by="gate", why=("misses more defects",))
    assert pointer.read_bytes() == before
    assert noted(registry)[-1] == ("v2", Ruling.HELD)
    assert registry.decisions(LINE)[-1].live == "v1"


def test_damaged_decisions_let_nothing_go_live_by_itself(registry: Registry) -> None:
    path = registry.home / "lines" / "mvtec%2Fpill" / DECISIONS
    path.write_text("{}x")
    with pytest.raises(BundleError, match="which ones were rolled back"):
        registry.promote_instead(LINE, "v2", "v1", by="gate", why=())
    assert registry.live_version(LINE) == "v1"
    path.unlink()
    registry.promote(LINE, "v2")
    assert noted(registry) == [("v2", Ruling.PROMOTED)]


def test_the_word_on_a_rolled_back_version_outlives_the_older_ones(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_decisions, "_KEPT", 3)
    registry.promote(LINE, "v2")
    registry.roll_back(LINE)
    folder = registry.home / "lines" / "mvtec%2Fpill"
    for _ in range(5):
        add_decision(folder, VersionDecision(version="v3", ruling=Ruling.HELD))
    assert noted(registry) == [("v2", Ruling.ROLLED_BACK), *[("v3", Ruling.HELD)] * 3]


KILLED = """
import os, sys
from pathlib import Path
from deploy.bundles import registry

registry.write_pointer = lambda *_: os.kill(os.getpid(), 9)
change = getattr(registry.Registry(Path(sys.argv[1])), sys.argv[2])
change(*sys.argv[3:], by="Ada", why="it is better")
"""


@pytest.mark.parametrize("change", [("promote", LINE, "v2"), ("roll_back", LINE)])
def test_what_a_killed_process_noted_and_did_not_do_is_noted_once(registry: Registry, change: tuple[str, ...]) -> None:
    registry.promote(LINE, "v3")
    before = len(registry.decisions(LINE))
    command = [sys.executable, "-c", KILLED, str(registry.home), *change]
    assert subprocess.run(command, check=False, cwd=REPOSITORY).returncode == -signal.SIGKILL
    assert registry.live_version(LINE) == "v3"
    getattr(registry, change[0])(*change[1:], by="Grace", why="it really is")
    assert registry.live_version(LINE) != "v3"
    (word,) = registry.decisions(LINE)[before:]
    assert (word.by, word.why) == ("Grace", ("it really is",))
