"""What a line leaves out, told by `lines check` and `adapt` in the same words."""

import pytest

from pipeline.product_lines.left_out import load_distinct_line
from pipeline.product_lines.line_check import check_line
from tests.pipeline.product_lines.test_line_check import mask, picture, save, sentences

READ = "what is read is .bmp, .jpeg, .jpg, .png, .tif, .tiff"


@pytest.mark.parametrize("name", ["defects", "Defect", "NG", "n.i.O.", "bad", "anomalies"])
def test_folders_of_other_names_and_files_that_are_not_read(tmp_path, name):
    for number in range(4):
        save(tmp_path / f"good/{number}.png", picture(number))
    for number in range(2):
        save(tmp_path / f"{name}/{number}.png", picture(10 + number))
    save(tmp_path / "gt/0.png", mask())
    save(tmp_path / "archive/0.png", picture(20))
    for file in ("good/a.webp", "good/b.heic", "masks/0.json", "notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"RIFF0000WEBP")
    report = check_line(tmp_path)
    unused, not_read = (sentence for _, sentence in sentences(report))
    assert unused.startswith("4 image files not used in this layout: ")
    for hint in (f"rename {name}/ to defect/", "rename gt/ to masks/"):
        assert hint in unused
    assert "archive/ to" not in unused
    found = "3 files left out, not read as images (1 .heic, 1 .json, 1 .webp), such as good/a.webp"
    assert not_read == f"{found}: {READ}."
    line, left_out = load_distinct_line(tmp_path)
    assert left_out.sentences == (unused, not_read), "adapt says the same"
    assert left_out.counts == {"equal to another": 0, "not used in this layout": 4, "not read": 3}
    assert (len(line.train_good), line.defects) == (4, ())


def test_what_counts_once_is_said_alike(tmp_path):
    for number in range(4):
        save(tmp_path / f"good/{number}.png", picture(number // 2))
    report = check_line(tmp_path)
    line, left_out = load_distinct_line(tmp_path)
    said = left_out.sentences
    few, *others = (sentence for _, sentence in sentences(report))
    assert few == "Only 2 different good training images: add some, up to at least 4."
    assert said == tuple(others)
    assert said[0] == "2 train good images are the same file and count once: good/0.png, good/1.png."
    assert [record.path.name for record in line.train_good] == ["0.png", "2.png"]
    assert left_out.counts["equal to another"] == 2
