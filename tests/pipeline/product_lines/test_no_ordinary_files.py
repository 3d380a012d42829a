"""Links that lead nowhere, pipes, sockets, devices and what may not be read: one sentence each, and nobody waits."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import LineError
from pipeline.product_lines.importers import import_data_set
from pipeline.product_lines.left_out import load_distinct_line
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.lines import find_lines, load_line
from pipeline.product_lines.usable_lines import usable_line
from tests.parts.line_on_disk import sentences, sound_line
from tests.parts.rights import closed


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return sound_line(tmp_path / "bolt")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


MADE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a pipe or device"),
    "socket": (_socket, "a pipe or device"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a pipe or device"),
    "broken link": (lambda path: path.symlink_to(path.parent / "nowhere"), "a link to no such file"),
    "loop": (lambda path: path.symlink_to(path), "a link that leads to itself"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("make", "got"), MADE.values(), ids=MADE)
def test_what_is_no_ordinary_file_is_named_and_never_waited_for(line, tmp_path, make, got, monkeypatch):
    monkeypatch.chdir(line / "train" / "good")  # a socket's path may have a hundred letters
    make(Path("x.png").absolute() if got != "a pipe or device" else Path("x.png"))
    sentence = f"1 image cannot be used: train/good/x.png (expected an image file, got {got}: "
    assert [said.startswith(sentence) for _, said in sentences(check_line(line))] == [True]
    usable, (told,) = usable_line(load_line(line))
    assert told.startswith(f"bolt: {sentence}")
    assert len(usable.train_good) == 4
    for link in (False, True):
        with pytest.raises(LineError) as caught:
            import_data_set("mvtec", line, tmp_path / "new", link=link)
        assert str(caught.value).startswith(f"expected a data set whose files can be read, got {got} at {line}/train/")
    assert not (tmp_path / "new").exists()


def test_a_broken_link_that_may_have_led_to_a_folder_is_told(line):
    (line / "test" / "scratch").symlink_to(line / "nowhere")
    (line / "test" / "turns").symlink_to(line / "test" / "turns")
    _, left_out = load_distinct_line(line)
    assert left_out.sentences == (
        "2 files left out, not read as images (2 broken link), such as test/scratch: "
        "mend or remove what leads nowhere; what is read is .bmp, .jpeg, .jpg, .png, .tif, .tiff.",
    )
    assert check_line(line).not_read.pictures == 2


def test_a_line_that_is_a_loop_is_no_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for load in (load_line, find_lines):
        with pytest.raises(
            LineError, match=r"a folder with a product line, got no such folder as .*loop: check the path"
        ):
            load(tmp_path / "loop")


@pytest.mark.parametrize("folder", ["train/good", "test/good", "test/crack", "ground_truth"])
def test_a_folder_that_may_not_be_listed_is_the_one_that_is_named(line, folder):
    with closed(line / folder), pytest.raises(LineError) as caught:
        check_line(line)
    assert str(caught.value).startswith(
        f"expected a folder that can be listed, got Permission denied at {line / folder}: "
    )


def test_a_file_that_may_not_be_read_is_named(line, tmp_path):
    with closed(line / "train/good/0.png"):
        ((_, said),) = sentences(check_line(line))
        with pytest.raises(LineError) as caught:
            import_data_set("mvtec", line, tmp_path / "new")
    reason = "expected a readable image file, got permission denied: grant read access to the file"
    assert said == f"1 image cannot be used: train/good/0.png ({reason})."
    assert f"got permission denied at {line}/train/good/0.png" in str(caught.value)
