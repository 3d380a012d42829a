"""Images of a line that are the same file count once in what is learned from."""

import os
from pathlib import Path

import pytest

from pipeline.errors import LineError
from pipeline.product_lines.copies import equal_files, find_copies, without_copies
from pipeline.product_lines.lines import load_line
from tests.parts.image_files import bmp, picture, png


def write(root: Path, **contents: bytes) -> list[Path]:
    """Files by name: "good__0" is good/0.png."""
    paths = []
    for name, content in contents.items():
        path = root / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def image(seed: int) -> bytes:
    return png(picture(32, 32, seed))


def test_equal_contents_count_once(tmp_path):
    write(tmp_path, good__0=image(0), good__1=image(0), good__2=image(1), good__3=image(0))
    write(
        tmp_path,
        defect__crack__0=image(2),
        defect__crack__1=image(2),
        defect__dent__2=image(2),
        defect__dent__3=image(3),
    )
    write(tmp_path, masks__crack__1=image(0))
    line = load_line(tmp_path)
    copies = find_copies(line)
    assert [[path.name for path in group.paths] for group in copies] == [
        ["0.png", "1.png", "3.png"],
        ["0.png", "1.png", "2.png"],
    ]
    once = without_copies(line, copies)
    assert [record.path.name for record in once.train_good] == ["0.png", "2.png"]
    assert [record.path.relative_to(tmp_path).as_posix() for record in once.defects] == [
        "defect/crack/1.png",  # the copy with a mask
        "defect/dent/3.png",
    ]
    assert without_copies(line, ()) == line


def test_a_good_image_with_a_defects_content_is_refused(tmp_path):
    write(tmp_path, good__0=image(0), good__1=image(1), defect__5=image(1))
    line = load_line(tmp_path)
    with pytest.raises(LineError) as caught:
        without_copies(line, find_copies(line))
    assert str(caught.value) == (
        "expected every image either good or defective, got a good and a defective image that are the same file: "
        f"good/1.png, defect/5.png in {tmp_path}: remove it where it does not belong"
    )


def test_equal_files_that_are_no_image_are_nobodys_equal(tmp_path):
    """Two lost downloads, one of them among the defects: adapt refused the line as if a part were both."""
    lost, cut = b"<html>404", image(3)[:-20]
    write(tmp_path, good__0=image(0), good__1=lost, good__2=lost, good__3=image(0), good__4=cut)
    write(tmp_path, defect__0=image(1), defect__1=lost, defect__2=cut)
    line = load_line(tmp_path)
    copies = find_copies(line)
    assert [[path.name for path in group.paths] for group in copies] == [["0.png", "3.png"]]
    assert len(without_copies(line, copies).train_good) == 4


def test_groups_of_copies_come_in_the_order_of_the_images(tmp_path):
    """Not by size, which equal files are found by: `adapt` tells of the same few groups as `lines check`."""
    for place in range(6):
        content = bmp(picture(32, 32 if place % 2 else 48, seed=place))
        write(tmp_path / "good", **{f"{place}_a": content, f"{place}_b": content})
    groups = find_copies(load_line(tmp_path))
    assert [group.paths[0].name for group in groups] == [f"{place}_a.png" for place in range(6)]


def test_only_equal_bytes_are_equal(tmp_path):
    long = bytes(100_000)
    paths = write(tmp_path, a=long + b"1", b=long + b"2", c=long + b"1", d=long, e=b"", f=b"")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.png").symlink_to(paths[3])
    os.mkfifo(tmp_path / "pipe.png")
    files = [*paths, *(tmp_path / name for name in ("gone.png", "link.png", "pipe.png"))]
    assert [tuple(path.name for path in same) for _, same in equal_files(files)] == [
        ("a.png", "c.png"),
        ("d.png", "link.png"),
    ]
