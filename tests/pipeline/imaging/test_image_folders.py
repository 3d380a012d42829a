"""Which files of a folder are images, and in which order they are found."""

import pytest

from pipeline.errors import StorageError
from pipeline.imaging.files import iter_image_files


def test_image_files_are_found_in_order(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "day2/z.tiff", "day1/b.bmp", ".cache/x.png", "c.jpeg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "day1" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone")
    (tmp_path / "linked").symlink_to(tmp_path / "day2")  # already entered
    found = [path.relative_to(tmp_path).as_posix() for path in iter_image_files(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "broken.png", "c.jpeg", "day1/b.bmp", "day2/z.tiff", "self.png"]


def test_a_linked_folder_is_entered(tmp_path):
    outside = tmp_path / "archive"
    outside.mkdir()
    (outside / "a.png").touch()
    line = tmp_path / "line"
    line.mkdir()
    (line / "today").symlink_to(outside)
    assert list(iter_image_files(line)) == [line / "today" / "a.png"]


def test_a_missing_folder_is_named_at_once(tmp_path):
    with pytest.raises(StorageError, match="expected a folder of images, got no such folder at"):
        iter_image_files(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="got a file at"):
        iter_image_files(tmp_path / "file")
