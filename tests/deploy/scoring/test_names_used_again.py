"""A watched folder whose names are used again, by a ring buffer or as `current.bmp`: each content counts for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.deploy.scoring.watching import Watching, by_rename


def in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def without_a_clock(path: Path, content: bytes) -> None:
    """As a share may show it: the same size, and the time of the first writing."""
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(content)
    os.utime(path, ns=times)


def back_in_time(path: Path, content: bytes) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(0, before - 10**12 - 1))


@pytest.mark.parametrize("write", [in_place, by_rename, without_a_clock, back_in_time])
def test_a_name_is_given_for_each_content(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    watching, current = Watching(tmp_path), tmp_path / "current.bmp"
    current.write_bytes(b"part 0")
    given = watching.poll() + watching.poll(1)
    for number in range(1, 4):
        assert watching.poll(70) == []
        write(current, b"part %d" % number)
        given += watching.poll() + watching.poll(1.5)
    assert given == ["current.bmp"] * 4
    assert watching.poll(70) == watching.poll(70) == []
    assert watching.source.remarks == []


def test_what_only_may_have_been_written_is_compared_by_its_content(tmp_path: Path) -> None:
    watching, current = Watching(tmp_path), tmp_path / "current.bmp"
    current.write_bytes(b"part")
    watching.poll()
    (first,) = watching.items(1)
    assert first.taking is not None
    assert first.taking.is_news(sha256(b"part").hexdigest())
    current.chmod(0o600)
    (tmp_path / "backup.txt").hardlink_to(current)
    watching.poll(70)
    (again,) = watching.items(1.5)
    assert again.taking is not None
    assert not again.taking.is_news(sha256(b"part").hexdigest())
    assert again.taking.is_news(sha256(b"another").hexdigest())
    assert watching.poll(70) == watching.poll(70) == []
    assert watching.source.remarks == []


def test_few_files_are_read_for_a_doubt_at_once(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    watching.poll()
    assert len(watching.poll(1)) == 20
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    watching.poll(70)
    assert [len(watching.poll(2)) for _ in range(4)] == [8, 8, 4, 0]


def test_times_in_whole_seconds_take_two_seconds_to_settle(tmp_path: Path) -> None:
    watching, current = Watching(tmp_path), tmp_path / "current.bmp"
    current.write_bytes(b"part 0")
    os.utime(current, (1_800_000_000, 1_800_000_000))
    assert watching.poll() == watching.poll(1) == []
    current.write_bytes(b"part two")
    os.utime(current, (1_800_000_000, 1_800_000_000))
    assert watching.poll(0.5) == watching.poll(1.5) == []
    assert watching.poll(0.5) == ["current.bmp"]


def test_an_image_that_is_gone_before_it_was_complete_is_told(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    assert watching.poll() == []
    for name in ("a.bmp", "b.bmp", "c.bmp", "notes.txt"):
        (tmp_path / name).write_bytes(b"part 0")
    assert watching.poll() == []
    by_rename(tmp_path / "a.bmp", b"part 1")
    (tmp_path / "b.bmp").unlink()
    (tmp_path / "c.bmp").rename(tmp_path / "previous.bmp")  # it has not gone
    (tmp_path / "c.bmp").write_bytes(b"part 1")
    (tmp_path / "notes.txt").unlink()
    assert watching.poll() == ["previous.bmp"]
    assert sorted(watching.poll(1)) == ["a.bmp", "c.bmp"]
    (running,) = watching.source.remarks
    assert running.startswith("Removed or replaced before they were complete, and so without a decision: files such as")
    watching.source.stop()
    assert "without a decision: 2 in all, first " in watching.source.remarks[0]


def test_what_an_earlier_watch_gave_is_not_said_to_be_without_a_decision(tmp_path: Path) -> None:
    for name in ("0.bmp", "1.bmp", "2.bmp"):
        (tmp_path / name).write_bytes(b"part")
    earlier = Watching(tmp_path)
    earlier.poll()
    assert len(earlier.poll(1)) == 3
    watching = Watching(tmp_path)  # begun again, as after a kill
    assert watching.poll() == []
    (tmp_path / "0.bmp").unlink()  # somebody clears up
    by_rename(tmp_path / "1.bmp", b"the next")  # the camera is round
    assert watching.poll() == []
    (tmp_path / "4.bmp").write_bytes(b"new, too")
    watching.poll()
    (tmp_path / "4.bmp").unlink()
    watching.source.stop()
    watching.poll()
    assert watching.source.remarks == [
        "Removed or replaced before they were complete, and so without a decision: 1 in all, first 4.bmp. Let the "
        "camera use more names.",
        "There before the watch began and removed or replaced before they were looked at: 2 in all, first 0.bmp. Those "
        "that an earlier run scored have its decision.",
    ]


def test_a_name_that_never_rests_is_told(tmp_path: Path) -> None:
    watching, current = Watching(tmp_path), tmp_path / "current.bmp"
    for number in range(140):
        current.write_bytes(b"%d" % number)
        os.utime(current, ns=(0, number))
        assert watching.poll(0.5) == []
    (told,) = watching.source.remarks
    assert told.startswith("current.bmp was written to for a minute without a pause of 1 s")


def test_a_full_folder_is_looked_at_in_turn_and_names_that_are_used_again_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.scoring.sources.watch._LOOKS", 10)
    watching = Watching(tmp_path)
    for number in range(200):
        (tmp_path / f"{number}.bmp").write_bytes(b"0")
    watching.poll()
    assert len(watching.poll(1)) == 200
    assert watching.poll(70) == []
    for number in range(200):
        (tmp_path / f"{number}.bmp").write_bytes(b"10")
    given = [watching.poll(1.5) for _ in range(25)]
    assert sorted(name for names in given for name in names) == sorted(f"{number}.bmp" for number in range(200))
    assert max(map(len, given)) < 60
    (tmp_path / "7.bmp").write_bytes(b"200")
    watching.poll(70)
    assert watching.poll(1.5) == ["7.bmp"], "a name that was used again is not waited for"


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    for day in range(50):
        (tmp_path / f"{day}.bmp").write_bytes(b"part")
        (tmp_path / f"{day - 3}.bmp").unlink(missing_ok=True)
        watching.poll()
        watching.poll(1.5)
    assert len(watching.source._taken) == 3
    assert len(watching.source._last.seen) == len(watching.source._last.doubts) == 0
