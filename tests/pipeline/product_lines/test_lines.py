"""Product lines on disk: both layouts, their masks, and what is refused."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import LineError
from pipeline.product_lines.lines import find_lines, load_line
from tests.parts.rights import closed


def touch(root: Path, *names: str) -> Path:
    """Empty files: loading a line reads no pixel."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def masks_of(line) -> dict[str, str | None]:
    return {
        record.path.relative_to(line.root).as_posix(): record.mask_path
        and record.mask_path.relative_to(line.root).as_posix()
        for record in line.defects
    }


@pytest.fixture
def mvtec(tmp_path):
    return touch(
        tmp_path / "bottle",
        "train/good/001.png",
        "train/good/000.png",
        "train/good/readme.txt",
        "train/good/.hidden.png",
        "test/good/000.jpg",
        "test/crack/000.png",
        "test/crack/001.png",
        "test/crack/002.png",
        "test/dent/000.png",
        "ground_truth/crack/000_mask.png",
        "ground_truth/crack/001.bmp",
        "ground_truth/dent/000.png",
        "ground_truth/dent/000_mask.png",
        "license.txt",
    )


def test_the_mvtec_layout(mvtec):
    line = load_line(mvtec)
    assert (line.name, line.data_set, line.root) == ("bottle", "bottle", mvtec)
    assert [record.path.name for record in line.train_good] == ["000.png", "001.png"]
    assert [record.path.name for record in line.test_good] == ["000.jpg"]
    assert [(record.kind, record.is_defect) for record in line.test_good] == [("good", False)]
    assert [record.kind for record in line.defects] == ["crack", "crack", "crack", "dent"]
    assert {record.line for record in (*line.train_good, *line.defects)} == {"bottle"}
    assert masks_of(line) == {
        "test/crack/000.png": "ground_truth/crack/000_mask.png",
        "test/crack/001.png": "ground_truth/crack/001.bmp",
        "test/crack/002.png": None,
        "test/dent/000.png": "ground_truth/dent/000_mask.png",
    }
    assert line.has_masks


def test_a_line_may_have_only_good_images(tmp_path):
    for root in (touch(tmp_path / "a", "train/good/0.png"), touch(tmp_path / "b", "good/0.png")):
        line = load_line(root)
        assert (len(line.train_good), line.test_good, line.defects, line.has_masks) == (1, (), (), False)


def test_the_simple_layout_with_flat_defects(tmp_path):
    root = touch(
        tmp_path, "good/1.png", "good/0.png", "good/day2/0.png", "defect/a.png", "defect/b.png", "masks/a_mask.png"
    )
    line = load_line(root)
    assert [record.path.relative_to(root).as_posix() for record in line.train_good] == [
        "good/0.png",
        "good/1.png",
        "good/day2/0.png",
    ]
    assert line.test_good == ()
    assert {record.kind for record in line.defects} == {"defect"}
    assert masks_of(line) == {"defect/a.png": "masks/a_mask.png", "defect/b.png": None}


@pytest.mark.parametrize("folder", ["masks", "ground_truth"])
def test_the_simple_layout_with_kinds(tmp_path, folder):
    root = touch(
        tmp_path,
        "good/0.png",
        "defect/crack/0.png",
        "defect/dent/0.png",
        "defect/dent/1.png",
        "defect/2.png",
        f"{folder}/crack/0.png",
        f"{folder}/dent/0_mask.png",
        f"{folder}/1.png",  # flat, and only one image is called 1
    )
    line = load_line(root)
    assert Counter(record.kind for record in line.defects) == {"crack": 1, "dent": 2, "defect": 1}
    assert masks_of(line) == {
        "defect/crack/0.png": f"{folder}/crack/0.png",
        "defect/dent/0.png": f"{folder}/dent/0_mask.png",
        "defect/dent/1.png": f"{folder}/1.png",
        "defect/2.png": None,
    }


def test_one_mask_for_two_images_is_refused(tmp_path):
    root = touch(tmp_path / "line", "good/0.png", "defect/crack/0.png", "defect/dent/0.png", "masks/0.png")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert str(caught.value) == (
        f"expected one image for each mask, got {root}/masks/0.png for 2 images called '0': "
        "move it to line/masks/<kind>/"
    )


def test_a_defect_called_good_is_refused(tmp_path):
    root = touch(tmp_path, "good/0.png", "defect/good/0.png")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert str(caught.value) == (
        f"expected defects under their own names, got a kind of defect called 'good' in {root}: "
        "move its images to good/ or rename the folder"
    )


LAYOUTS = "train/good/ with images (MVTec AD layout), or good/ with images"


def test_what_is_no_line_is_refused(tmp_path):
    missing = tmp_path / "none"
    file = touch(tmp_path, "file.png") / "file.png"
    empty = tmp_path / "empty"
    empty.mkdir()
    no_good = touch(tmp_path / "no_good", "train/good/notes.txt", "test/crack/0.png")
    other = touch(tmp_path / "other", "images/0.png")
    for path, got, remedy in (
        (missing, f"no such folder as {missing}", "check the path"),
        (file, f"a file, {file}", "check the path"),
    ):
        with pytest.raises(LineError) as caught:
            load_line(path)
        assert str(caught.value) == f"expected a folder with a product line, got {got}: {remedy}"
    for path, got, remedy in (
        (empty, f"an empty folder, {empty}", "copy the line's images there"),
        (no_good, f"no good image in {no_good}", "copy images of good parts there"),
        (other, f"no good image in {other}", "copy images of good parts there"),
    ):
        with pytest.raises(LineError) as caught:
            load_line(path)
        assert str(caught.value) == f"expected a product line with {LAYOUTS}, got {got}: {remedy}"


@pytest.mark.parametrize("name", ["ok", "OK", "Good", "gut", "normal", "i.O."])
def test_good_parts_under_another_name_are_refused_with_the_right_one(tmp_path, name):
    for root, folder in ((tmp_path / "a", name), (tmp_path / "b", f"train/{name}")):
        touch(root, f"{folder}/0.png", "train/x/0.png" if "train" in folder else "x/0.png")
        for load in (load_line, find_lines):
            with pytest.raises(LineError) as caught:
                load(root)
            assert str(caught.value) == (
                f"expected a product line with {LAYOUTS}, got no good image in {root}, but a folder {name}/: "
                f"rename {name}/ to good/"
            )
    touch(tmp_path, "sound/good/0.png")
    with pytest.raises(LineError, match=f"but a folder {name}/: rename"):
        find_lines(tmp_path)


def test_a_line_or_a_data_set_may_be_called_ok(tmp_path):
    touch(tmp_path, "ok/good/0.png", "set/a/good/0.png", "set/normal/0.png", "passed/notes.txt")
    assert [line.name for line in find_lines(tmp_path)] == ["ok", "set/a"]


@pytest.mark.parametrize("room", ["gt", "xyz"])
def test_mvtec_3d_is_refused_with_what_to_do(tmp_path, room):
    root = touch(tmp_path / "cut", "train/good/rgb/000.png", f"train/good/{room}/000.png", "test/cut/rgb/000.png")
    for load in (load_line, find_lines):
        with pytest.raises(LineError, match=r"got MVTec 3D-AD's, .*: bring it over: linewise lines import mvtec3d"):
            load(root)
    only_test = touch(tmp_path / "test", "train/good/0.png", "test/cut/rgb/000.png", f"test/cut/{room}/000.png")
    with pytest.raises(LineError, match="MVTec 3D-AD"):
        load_line(only_test)


def test_lines_are_found_two_levels_deep(tmp_path, mvtec):
    touch(tmp_path, "INDEX.json", "sets/a/good/0.png", "sets/b/train/good/0.png", ".trash/c/good/0.png")
    touch(tmp_path, "deep/er/still/good/0.png", "notes/readme.md")
    found = find_lines(tmp_path)
    assert [(line.name, line.data_set) for line in found] == [
        ("bottle", "bottle"),
        ("sets/a", "sets"),
        ("sets/b", "sets"),
    ]
    assert {record.line for record in found[1].train_good} == {"sets/a"}
    assert [line.name for line in find_lines(mvtec)] == ["bottle"]


def test_links_are_followed_once(tmp_path):
    line = touch(tmp_path / "set" / "line", "good/0.png")
    (tmp_path / "set" / "loop").symlink_to(tmp_path)
    (line / "good" / "again").symlink_to(line / "good")
    assert [len(found.train_good) for found in find_lines(tmp_path)] == [1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked").symlink_to(line)
    assert [found.name for found in find_lines(elsewhere)] == ["linked"]


def test_a_root_without_lines_is_refused(tmp_path):
    touch(tmp_path, "a/b/c/good/0.png")
    with pytest.raises(LineError) as caught:
        find_lines(tmp_path)
    assert str(caught.value) == (
        f"expected product lines with {LAYOUTS}, got none in {tmp_path} or two levels below: check the folder"
    )
    with pytest.raises(LineError, match="no such folder as"):
        find_lines(tmp_path / "none")


@pytest.mark.parametrize("name", ["good/a.heic", "good.zip"])
def test_what_is_not_read_is_named_where_no_good_image_is_found(tmp_path, name):
    """It said to copy images there, and nothing of those that were."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    mend = "unpack good.zip, and name the folder that comes out" if path.suffix == ".zip" else "c(opy|heck) "
    held = rf", but 1 file left out, not read as images \(1 {path.suffix}\), such as {name}: {mend}"
    with pytest.raises(LineError, match=held):
        load_line(tmp_path)
    with pytest.raises(LineError, match=held):
        find_lines(tmp_path)


def test_an_unusable_line_is_not_passed_over(tmp_path):
    touch(tmp_path, "set/a/good/0.png")
    (tmp_path / "set" / "b" / "good").mkdir(parents=True)
    with pytest.raises(LineError, match=r"no good image in .*/set/b: copy images"):
        find_lines(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected", "at", "remedy"),
    [
        ("b", "a folder that can be listed", "b/train/good", "grant access to it"),
        ("a/good/day2", "a folder that can be listed", "a/good/day2", "grant access to it or move it away"),
    ],
)
def test_a_folder_that_may_not_be_listed_is_not_passed_over(tmp_path, name, expected, at, remedy):
    touch(tmp_path, "a/good/0.png", "a/good/day2/0.png", "b/good/0.png")
    with closed(tmp_path / name), pytest.raises(LineError) as caught:
        find_lines(tmp_path)
    assert str(caught.value) == f"expected {expected}, got Permission denied at {tmp_path}/{at}: {remedy}"


def test_what_systems_leave_is_no_line_and_no_image_of_one(tmp_path):
    touch(tmp_path, "a/good/0.png", "a/good/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "a/defect/1.png")
    touch(tmp_path, "a/defect/#recycle/2.png", "a/masks/1.png", "a/masks/@eaDir/1.png")
    touch(tmp_path, "#recycle/a/good/0.png", "@eaDir/good/0.png", "__MACOSX/a/good/._0.png")
    (line,) = find_lines(tmp_path)
    assert (line.name, len(line.train_good)) == ("a", 1)
    assert masks_of(line) == {"defect/1.png": "masks/1.png"}
    assert [record.kind for record in line.defects] == ["defect"]
    mvtec = touch(tmp_path / "b", "train/good/0.png", "test/@eaDir/0.png", "test/crack/1.png")
    assert [record.kind for record in load_line(mvtec).defects] == ["crack"]
    only_left = touch(tmp_path / "c", ".DS_Store", "Thumbs.db")
    with pytest.raises(LineError, match="an empty folder"):
        load_line(only_left)


@pytest.mark.lines
def test_the_real_lines_agree_with_their_index(real_lines):
    index = {entry["line"]: entry for entry in json.loads((real_lines / "INDEX.json").read_text())}
    lines = find_lines(real_lines)
    assert [line.name for line in lines] == sorted(index)
    assert len(lines) == 13
    for line in lines:
        counts = index[line.name]["counts"]
        assert len(line.train_good) == counts["train_good"]
        assert len(line.test_good) == counts["test_good"]
        assert Counter(record.kind for record in line.defects) == counts["defect_by_type"]
        assert line.has_masks == (index[line.name]["mask_kind"] != "none")
        assert line.data_set == line.name.split("/", maxsplit=1)[0]
