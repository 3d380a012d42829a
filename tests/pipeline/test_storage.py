"""Durable files: what keeps one from being written, as a sentence, and who is first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.storage import new_folder, replace_file
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
