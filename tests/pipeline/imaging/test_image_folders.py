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


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/a.png",
        "#snapshot/daily/a.png",
        ".snapshot/hourly/a.png",
        "~snapshot/hourly/a.png",
        "@Recycle/a.png",
        "@Recently-Snapshot/GMT+01_2026/a.png",
        ".@__thumb/s100a.png",
        "@__thumb/default_a.png",
        "__MACOSX/good/a.png",
        "__MACOSX/good/._a.png",
        "._a.png",
        ".AppleDouble/a.png",
        "Network Trash Folder/a.png",
        ".Trash-1000/files/a.png",
        ".Trashes/501/a.png",
        "$RECYCLE.BIN/S-1-5-21/a.png",
        "$Recycle.Bin/a.png",
        "System Volume Information/a.png",
        "FOUND.000/a.png",
        "lost+found/#131073/a.png",
        "LOST.DIR/a.png",
        "_gsdata_/_saved_/a.png",
        ".thumbnails/normal/a.png",
        ".stversions/a~20260101-120000.png",
        "~syncthing~a.png",
        "~$a.png",
        "Thumbs.db",
        "desktop.ini",
    ],
)
def test_what_systems_leave_is_no_image(tmp_path, name):
    for file in ("a.png", name, f"deeper/{name}"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert list(iter_image_files(tmp_path)) == [tmp_path / "a.png"]


def test_a_system_folder_that_is_asked_for_by_name_is_read(tmp_path):
    (tmp_path / "#recycle").mkdir()
    (tmp_path / "#recycle" / "a.png").touch()
    assert [path.name for path in iter_image_files(tmp_path / "#recycle")] == ["a.png"]


def test_folders_that_a_person_named_are_read(tmp_path):
    for name in ("#1", "@night", "$", "~", "thumbnails", "tmp", "recycled", "found", "snapshot"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    assert len(list(iter_image_files(tmp_path))) == 9
