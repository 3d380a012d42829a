"""Bad input, as a user meets it: through the command, one clear sentence, a non-zero exit, nothing lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile

from pipeline.synthetic.lines import write_line
from tests.flows.command import Command
from tests.parts.image_files import cmyk_jpeg, png_chunk, png_header
from tests.parts.plant import mounted_tmpfs, write_image, write_plant

LINE = "mvtec/pill"


@pytest.fixture
def plant(home: Path, tmp_path: Path) -> Path:
    """A folder of two good images for a line whose bundle is live."""
    write_plant(home)
    for index in range(2):
        write_image(tmp_path / "images" / f"good_{index}.png", brightness=40, seed=index)
    return tmp_path / "images"


def said(code: int, error: str, *words: str) -> None:
    """The command ended with one sentence that has these words in it."""
    assert code != 0
    assert "Traceback" not in error
    sentences = [line for line in error.splitlines() if line.startswith("linewise: expected ")]
    assert len(sentences) == 1, error
    assert ", got " in sentences[0]
    assert ": " in sentences[0].removeprefix("linewise: ")  # the remedy
    for word in words:
        assert word in sentences[0]


def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


UNREADABLE: dict[str, tuple[str, bytes, str]] = {
    "truncated JPEG": ("cut.jpg", simplejpeg.encode_jpeg(colour())[:400], "JPEG"),
    "PNG header of 100,000 x 100,000": ("bomb.png", png_header(100_000, 100_000) + png_chunk(b"IEND", b""), "pixels"),
    "text named .png": ("notes.png", b"these are not pixels\n", "image"),
    "CMYK JPEG": ("print.jpg", cmyk_jpeg(), "print colours"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_file_is_reported_and_the_others_are_scored(
    linewise: Command, plant: Path, tmp_path: Path, what: str
):
    name, data, word = UNREADABLE[what]
    (plant / name).write_bytes(data)
    code, _, error = linewise("score", LINE, plant, "--json", tmp_path / "result.json")
    assert code == 1
    assert error.count("no decision on ") == 1
    assert "Traceback" not in error
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert sum(row["status"] == "scored" for row in rows) == 2
    (bad,) = [row for row in rows if row["status"] == "unreadable"]
    assert bad["path"].endswith(name)
    assert word in bad["reason"]
    assert "expected" in bad["reason"] and ", got " in bad["reason"] and ": " in bad["reason"]


def test_an_image_of_another_depth_than_the_support_gets_no_decision(linewise: Command, plant: Path, tmp_path: Path):
    """12 bits in a 16-bit file were taken for darkness: grey 127 became 8, and good parts were REJECT."""
    grey = np.full((48, 48), 200, np.uint8)
    tifffile.imwrite(plant / "deep.tiff", grey.astype(np.uint16) * 16)
    code, _, error = linewise("score", LINE, plant, "--json", tmp_path / "result.json")
    rows = {Path(row["path"]).name: row for row in json.loads((tmp_path / "result.json").read_text())["rows"]}
    assert code == 1
    assert error.count("no decision on ") == 1
    assert rows.pop("deep.tiff")["reason"] == (
        "expected an image of 8 bits, as those that the line was adapted from, got 16 bits: set the camera as it was, "
        "or adapt the line again"
    )
    assert {row["status"] for row in rows.values()} == {"scored"}


def twelve_bit_line(folder: Path, *, brightest: int) -> Path:
    """Three good images of a camera of 12 bits, in 16-bit files."""
    (folder / "good").mkdir(parents=True)
    for seed in range(3):
        deep = np.random.default_rng(seed).integers(0, brightest, (64, 64)).astype(np.uint16)
        cv2.imwrite(str(folder / "good" / f"{seed}.png"), deep)
    return folder


ADAPT = ("adapt", "deep", "--learner", "memory_bank", "--size", "64")


def test_a_white_level_that_dark_images_hide_can_be_stated(linewise: Command, tmp_path: Path):
    dark = twelve_bit_line(tmp_path / "dark", brightest=900)
    bright = twelve_bit_line(tmp_path / "bright", brightest=4000)
    assert linewise(*ADAPT, dark)[0] == 0
    code, _, error = linewise("score", "deep", bright)
    assert code == 1
    assert "expected pixels up to the line's white level, 1023, got " in error
    assert ": adapt the line again with --white-level 4095" in error
    assert linewise(*ADAPT, dark, "--white-level", 4095)[0] == 0
    code, _, error = linewise("score", "deep", bright)
    assert code == 0, error


def test_white_levels_that_cannot_be(linewise: Command, line: Path, tmp_path: Path):
    bright = twelve_bit_line(tmp_path / "bright", brightest=4000)
    said(*linewise(*ADAPT, bright, "--white-level", 1023)[::2], "brightest pixel", "1023", "4095")
    said(*linewise(*ADAPT, line, "--white-level", 4095)[::2], "more than 8 bits", "leave the white level out")
    cv2.imwrite(str(bright / "good" / "3.png"), np.full((64, 64), 90, np.uint8))
    said(*linewise(*ADAPT, bright)[::2], "images of one depth", "1 of 8 bits and 3 of 16 bits")


def test_pictures_of_other_kinds_are_told_of(linewise: Command, plant: Path, tmp_path: Path):
    for name in ("a.webp", "b.heic", "c.jfif"):
        (plant / name).write_bytes(b"RIFF0000WEBP")
    told = "3 files left out, not read as images (1 .heic, 1 .jfif, 1 .webp), such as a.webp"
    page = tmp_path / "page.html"
    code, out, err = linewise("score", LINE, plant, "--device", "cpu", "--report", page, "--json", "-")
    assert code == 1, "as for every file that gets no decision"
    assert err.count("left out") == 1
    assert (json.loads(out)["images"], json.loads(out)["pictures_left_out"]) == (2, 3)
    assert "not read as images" in page.read_text()
    for path in plant.glob("*.png"):
        path.unlink()
    code, _, err = linewise("score", LINE, plant, "--device", "cpu")
    said(code, err, "expected image files", told)


def test_an_empty_folder_to_score(linewise: Command, plant: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    code, _, error = linewise("score", LINE, tmp_path / "empty")
    said(code, error, "empty")


def test_an_empty_folder_to_adapt_to(linewise: Command, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    code, _, error = linewise("adapt", "new", tmp_path / "empty")
    said(code, error, "empty")


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return write_line(tmp_path / "lines", 0, good=3, test_good=2, defects=3, size=64)


def test_a_line_without_a_good_image(linewise: Command, line: Path):
    shutil.rmtree(line / "train")
    code, _, error = linewise("adapt", "new", line)
    said(code, error, "good")


def test_masks_that_mark_nearly_all_of_the_image_are_told_of_and_adapted_to(linewise: Command, line: Path):
    for mask in line.glob("ground_truth/*/*.png"):
        cv2.imwrite(str(mask), 255 - cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE))
    code, _, error = linewise("adapt", "new", line, "--learner", "memory_bank", "--size", "64")
    assert code == 0
    assert error.count("masks with nearly all of the image marked") == 1
    code, checked, _ = linewise("lines", "check", line)
    assert "masks with nearly all of the image marked" in checked


def test_all_of_many_images_are_used_and_fewer_where_that_is_asked_for(linewise: Command, tmp_path: Path):
    line = write_line(tmp_path / "lines", 0, good=20, test_good=0, defects=2, size=64)
    flags = ("--learner", "memory_bank", "--size", "64")
    code, out, error = linewise("adapt", "new", line, *flags)
    assert (code, "Good images: 20" in out, "are used" in error) == (0, True, False)
    code, out, error = linewise("adapt", "new", line, *flags, "--good", "3")
    assert (code, "Good images: 3" in out, "are used" in error) == (0, True, False), "asked for"


def test_what_adaptation_leaves_out_is_told_in_the_words_of_lines_check(linewise: Command, line: Path):
    for folder in (line / "train" / "good", line / "defects"):
        folder.mkdir(exist_ok=True)
        first = next(iter(sorted((line / "train" / "good").iterdir())))
        shutil.copy(first, folder / "copy.png")
    (line / "train" / "good" / "a.webp").write_bytes(b"RIFF0000WEBP")
    code, out, error = linewise("adapt", "new", line, "--learner", "memory_bank", "--size", "64")
    assert code == 0
    assert "Good images: 3" in out
    assert "Left out of the folder: 1 equal to another, 1 not used in this layout, 1 not read" in out
    _, checked, _ = linewise("lines", "check", line)
    for words in (
        "2 train good images are the same file and count once: train/good/",
        "1 image file not used in this layout: defects/copy.png: rename defects/ to defect/, if that is what it holds.",
        "1 file left out, not read as images (1 .webp), such as train/good/a.webp: what is read is .bmp, ",
    ):
        assert error.count(words) == 1
        assert words in checked
    defect = next(iter(sorted((line / "test").glob("[!g]*/*.png"))))
    shutil.copy(first, defect)
    code, _, error = linewise("adapt", "new", line, "--learner", "memory_bank", "--size", "64")
    said(code, error, "expected every image either good or defective", "are the same file", defect.name)


def test_an_unknown_learner_and_an_unknown_backbone(linewise: Command, line: Path):
    said(*linewise("adapt", "new", line, "--learner", "telepathy")[::2], "telepathy")
    said(*linewise("adapt", "new", line, "--learner", "memory_bank", "--backbone", "resnet1800")[::2], "resnet1800")


def test_a_read_only_output_folder(linewise: Command, plant: Path, tmp_path: Path):
    with mounted_tmpfs(tmp_path / "sealed", kilobytes=64, read_only=True) as sealed:
        said(*linewise("export", LINE, sealed / "bundle")[::2], "sealed")
        said(*linewise("score", LINE, plant, "--report", sealed / "report.html")[::2], "sealed")


def test_a_file_where_the_run_folder_should_be(linewise: Command, line: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    said(*linewise("meta-train", line, "--output", tmp_path / "file" / "run")[::2], "a writable run folder", "file/run")


def test_a_file_where_the_demo_writes(linewise: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flows.demo.SOURCE_SEEDS", (1,))  # one line is enough to come that far
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "new-line").write_text("in the way")
    said(*linewise("demo", "--folder", tmp_path / "demo")[::2], f"a folder {tmp_path}/demo to write into", "--folder")


def test_a_full_disk_for_the_result_keeps_what_was_scored(linewise: Command, plant: Path, home: Path, tmp_path: Path):
    with mounted_tmpfs(tmp_path / "small", kilobytes=8) as small:
        code, _, error = linewise("score", LINE, plant, "--report", small / "report.html")
        said(code, error, "small")
    code, out, error = linewise("score", LINE, plant, "--json", "-")
    assert code == 0, error
    assert json.loads(out)["scored_before"] == 2  # their rows were already in the store


def test_a_bundle_with_one_byte_changed(linewise: Command, plant: Path, home: Path):
    (head,) = home.rglob("head.onnx")
    data = bytearray(head.read_bytes())
    data[len(data) // 2] ^= 1
    head.chmod(0o644)
    head.write_bytes(data)
    code, _, error = linewise("score", LINE, plant)
    said(code, error, "head.onnx")


def test_a_file_name_is_no_formula_and_no_new_row_in_the_csv(linewise: Command, plant: Path, tmp_path: Path):
    formula, torn, shown = "=cmd|' C calc'!A0.png", 'a "b",\nc.png', r'a "b",\nc.png'
    write_image(plant / formula, brightness=40, seed=9)
    (plant / torn).write_text("no image")
    code, _, error = linewise("score", LINE, plant, "--csv", tmp_path / "rows.csv", "--json", tmp_path / "rows.json")
    assert code == 1, error
    with (tmp_path / "rows.csv").open(newline="") as file:
        from_csv = {row["path"]: row for row in csv.DictReader(file)}
    from_json = {row["path"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert from_csv.keys() == {f"'{formula}", shown, "good_0.png", "good_1.png"}, "a spreadsheet must not run it"
    assert from_json.keys() == {formula, torn, "good_0.png", "good_1.png"}
    assert float(from_csv[f"'{formula}"]["score"]) == from_json[formula]["score"]
    assert from_csv[f"'{formula}"]["decision"] == from_json[formula]["decision"]
    assert from_csv[shown]["reason"] == from_json[torn]["reason"]
    assert from_csv[shown]["status"] == from_json[torn]["status"] == "unreadable"
