"""Durable files: what keeps one from being written, as a sentence, and who is first."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import StorageError
from pipeline.storage import new_folder, replace_file, replacing_folder
from tests.checkout import REPOSITORY
from tests.parts.plant import tree
from tests.parts.rights import closed


def test_a_folder_that_may_not_be_entered_is_a_sentence(tmp_path: Path) -> None:
    with closed(tmp_path), pytest.raises(StorageError) as caught:
        replace_file(tmp_path / "report.html", b"new")
    assert str(caught.value) == (
        f"expected permission to use {tmp_path}/report.html, got permission denied: change its owner or mode"
    )
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_says_of_any_other_failure_is_in_the_sentence(tmp_path: Path) -> None:
    path = tmp_path / "name"
    path.mkdir()
    with pytest.raises(StorageError) as caught:
        replace_file(path, b"new")
    assert str(caught.value) == f"expected to read or write {path}, got 'Is a directory': check the disk and the folder"


def test_of_two_writers_of_one_folder_the_first_to_end_keeps_the_name(tmp_path: Path) -> None:
    final = tmp_path / "v1"
    with pytest.raises(StorageError) as caught, new_folder(final) as late:
        (late / "who").write_text("late")
        with new_folder(final) as early:
            (early / "who").write_text("early")
    assert str(caught.value) == (
        f"expected a new name at {final}, got something there: choose another name; nothing is overwritten"
    )
    assert tree(tmp_path) == {"v1/who": b"early"}


def test_a_folder_that_is_removed_while_it_is_filled_is_a_sentence(tmp_path: Path) -> None:
    final = tmp_path / "lines" / "v1"
    with pytest.raises(StorageError) as caught, new_folder(final):
        shutil.rmtree(tmp_path / "lines")
    assert str(caught.value) == f"expected an existing path at {final}, got nothing there: check the path"


@pytest.mark.parametrize("swaps", [True, False])
def test_a_folder_is_replaced_whole_or_not_at_all(swaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not swaps:
        monkeypatch.setattr(storage, "_swap_names", lambda *_: False)  # as on NFS
    final = tmp_path / "model"
    for content in ("first", "second"):
        with replacing_folder(final) as partial:
            (partial / content).write_text(content)
        assert tree(tmp_path) == {f"model/{content}": content.encode()}
    with pytest.raises(ZeroDivisionError), replacing_folder(final) as partial:
        (partial / "third").write_text("third")
        raise ZeroDivisionError
    assert tree(tmp_path) == {"model/second": b"second"}


def test_an_older_folder_takes_its_name_back_when_the_new_one_cannot_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, rename = tmp_path / "model", Path.rename
    with replacing_folder(final) as partial:
        (partial / "who").write_text("older")

    def refuse_the_new_one(path: Path, target: Path) -> Path:
        if path == partial:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(storage, "_swap_names", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(StorageError, match="Input/output error"), replacing_folder(final) as partial:
        (partial / "who").write_text("newer")
    assert tree(tmp_path) == {"model/who": b"older"}


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(StorageError, match="nothing is overwritten"), replacing_folder(tmp_path / "model"):
        pass
    assert tree(tmp_path) == {"model": b"a file"}


KILLED_WRITER = """
import os, sys
from pathlib import Path
from pipeline.storage import new_folder

with new_folder(Path(sys.argv[1])) as partial:
    (partial / "half").write_bytes(b"written")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_one_s_stays(tmp_path: Path) -> None:
    final = tmp_path / "pack"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(final)], check=False, cwd=REPOSITORY)
        assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] != []
    with new_folder(tmp_path / "pack.2") as other, replacing_folder(final) as one:
        assert {*tmp_path.iterdir()} == {one, other}, "what was left is gone"
        with replacing_folder(final) as two:
            (two / "content").write_bytes(b"of the first to end")
        (one / "content").write_bytes(b"of the second")
    assert (final / "content").read_bytes() == b"of the second"
    assert {*tmp_path.iterdir()} == {final, tmp_path / "pack.2"}
