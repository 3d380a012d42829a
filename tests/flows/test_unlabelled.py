"""A folder of unlabelled images: which of them are used, and what is said of the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flows import unlabelled
from flows.taken_up import SeenUnlabelled, TakeUpReport
from flows.unlabelled import (
    Candidate,
    Candidates,
    Unlabelled,
    draw_unlabelled,
    images_below,
    thumbnails_of,
)
from pipeline.errors import LineError
from pipeline.imaging.images import DecodedImage, PreprocessSpec, UnreadableImage, read_image
from pipeline.product_lines.lines import ImageRecord
from pipeline.storage import sha256_file
from tests.parts.line_on_disk import picture, save

PREPROCESS = PreprocessSpec(height=64, width=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six different images, two of them in folders."""
    for number in range(4):
        save(tmp_path / f"unlabelled/{number}.png", picture(number))
    for number in range(4, 6):
        save(tmp_path / f"unlabelled/camera {number}/1.png", picture(number))
    return tmp_path / "unlabelled"


def found(folder: Path, *known: Path, limit: int = 100, seed: int = 0) -> Unlabelled:
    labelled = {sha256_file(path) for path in known}
    return draw_unlabelled([images_below(folder)], labelled, PREPROCESS, line="caps", limit=limit, seed=seed)


def names(unlabelled: Unlabelled, folder: Path) -> set[str]:
    return {record.path.relative_to(folder).as_posix() for record in unlabelled.records}


def test_all_images_of_the_folder_are_found_in_folders_too_and_count_neither_as_good_nor_as_labelled(folder: Path):
    unlabelled = found(folder)
    assert names(unlabelled, folder) == {"0.png", "1.png", "2.png", "3.png", "camera 4/1.png", "camera 5/1.png"}
    assert unlabelled.remarks == ()
    assert {(record.line, record.kind) for record in unlabelled.records} == {("caps", "unlabelled")}


def parts_seen(folder: Path, parts: range, times: int) -> Path:
    """A camera that takes each part so many times, a little noise in between."""
    rng = np.random.default_rng(0)
    for part in parts:
        for shot in range(times):
            noise = rng.normal(0, 2, (96, 128, 3))
            save(folder / f"{part:02}_{shot}.png", (picture(part) + noise).clip(0, 255).astype(np.uint8))
    return folder


def test_each_part_is_used_once_and_none_that_is_labelled(tmp_path: Path) -> None:
    folder = parts_seen(tmp_path / "unlabelled", range(12), times=3)
    unlabelled = found(folder)
    assert names(unlabelled, folder) == {f"{part:02}_0.png" for part in range(12)}
    assert unlabelled.remarks == ("24 unlabelled images are left out: they show parts that other images show, too.",)
    records = [ImageRecord(save(tmp_path / f"good/{part}.png", picture(part)), "caps", "good") for part in (2, 5)]
    shown = thumbnails_of(records, PREPROCESS)
    less = draw_unlabelled([images_below(folder)], set(), PREPROCESS, line="caps", limit=99, seed=0, shown=shown)
    assert names(less, folder) == {f"{part:02}_0.png" for part in range(12) if part not in (2, 5)}


def test_an_image_that_shows_a_part_again_is_replaced_until_there_are_enough(tmp_path: Path) -> None:
    folder = parts_seen(tmp_path / "unlabelled", range(30), times=2)
    unlabelled = found(folder, limit=20)
    assert len({record.path.name.partition("_")[0] for record in unlabelled.records}) == 20
    assert len(unlabelled.records) == 20
    assert unlabelled.remarks[-1] == "20 unlabelled images are used, drawn by the seed from 60 files."


def test_of_many_images_of_few_parts_not_all_are_looked_at(tmp_path: Path) -> None:
    folder = parts_seen(tmp_path / "unlabelled", range(11), times=20)
    unlabelled = found(folder, limit=16)
    assert len(unlabelled.records) <= 11
    assert "drawn by the seed from 220 files" in unlabelled.remarks[-1]


def test_a_production_of_labelled_parts_alone_leaves_nothing(tmp_path: Path) -> None:
    folder = parts_seen(tmp_path / "unlabelled", range(10), times=1)
    records = [ImageRecord(save(tmp_path / f"good/{part}.png", picture(part)), "caps", "good") for part in range(10)]
    shown = thumbnails_of(records, PREPROCESS)
    nothing = draw_unlabelled([images_below(folder)], set(), PREPROCESS, line="caps", limit=99, seed=0, shown=shown)
    assert nothing.records == ()
    assert nothing.remarks == ("10 unlabelled images are left out: they show parts that other images show, too.",)


def test_each_content_is_used_once_and_none_that_is_labelled(folder: Path, tmp_path: Path):
    labelled = Path(shutil.copy(folder / "1.png", tmp_path / "labelled.png"))
    assert found(folder, labelled).remarks == ("1 unlabelled image is left out: it is equal to others or labelled.",)
    shutil.copy(folder / "2.png", folder / "camera 4" / "again.png")
    unlabelled = found(folder, labelled)
    assert names(unlabelled, folder) == {"0.png", "2.png", "3.png", "camera 4/1.png", "camera 5/1.png"}
    assert unlabelled.remarks == ("2 unlabelled images are left out: they are equal to others or labelled.",)


def test_files_that_cannot_be_used_are_named_and_the_others_used(folder: Path):
    (folder / "0.png").write_text("no image")
    (folder / "6.heic").write_bytes(b"a format that is not read")
    unlabelled = found(folder)
    assert len(unlabelled.records) == 5
    other, unusable = unlabelled.remarks
    assert "heic" in other.lower()
    assert unusable.startswith("Unlabelled images left out, as they cannot be used: 0.png: ")
    assert "more" not in unusable
    (folder / "1.png").write_text("no image either")
    assert found(folder).remarks[1].endswith(", and 1 more.")


def test_no_more_than_the_limit_are_used_drawn_by_the_seed_in_the_folders_order(folder: Path):
    everything, some = found(folder), found(folder, limit=3, seed=1)
    assert some.remarks == ("3 unlabelled images are used, drawn by the seed from 6 files.",)
    assert len(some.records) == 3
    assert [record for record in everything.records if record in some.records] == list(some.records)
    assert found(folder, limit=3, seed=1) == some
    assert len({found(folder, limit=3, seed=seed).records for seed in range(6)}) > 1
    assert found(folder, limit=6).remarks == ()


def test_no_more_images_are_decoded_than_are_used_and_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(10, 40):
        save(folder / f"{number}.png", picture(number))
    decoded = list[Path]()

    def read(path: Path, preprocess: PreprocessSpec) -> DecodedImage | UnreadableImage:
        decoded.append(path)
        return read_image(path, preprocess)

    monkeypatch.setattr(unlabelled, "read_image", read)
    drawn = found(folder, limit=5, seed=2)
    assert sorted(decoded) == sorted(record.path for record in drawn.records)
    broken, labelled = drawn.records[0].path, drawn.records[1].path
    broken.write_text("no image")
    decoded.clear()
    others = found(folder, labelled, limit=5, seed=2)
    assert len(others.records) == 5
    assert len(decoded) == 7
    assert {record.path for record in drawn.records} - {record.path for record in others.records} == {broken, labelled}
    assert others.remarks == (
        "1 unlabelled image is left out: it is equal to others or labelled.",
        f"Unlabelled images left out, as they cannot be used: {broken.name}: {reason(broken)}.",
        "5 unlabelled images are used, drawn by the seed from 36 files.",
    )


def test_where_all_are_looked_at_nothing_is_said_of_a_draw(folder: Path):
    for name in ("0.png", "1.png"):
        (folder / name).write_text("no image")
    assert len(found(folder, limit=5).records) == 4
    assert all("drawn" not in remark for remark in found(folder, limit=5).remarks)


def test_scored_images_are_used_where_they_are_still_the_same_beside_a_folder(folder: Path, tmp_path: Path):
    shots = [save(tmp_path / f"shots/{number}.png", picture(number)) for number in range(3, 9)]
    files = tuple(Candidate(path, sha256_file(path)) for path in shots)
    shots[1].unlink()
    save(shots[2], picture(20))
    shots[3].write_text("no image")
    production = Candidates(files=files, where="among the images of caps")
    both = [images_below(folder), production]
    drawn = draw_unlabelled(both, set(), PREPROCESS, line="caps", limit=100, seed=0)
    assert [record.path for record in drawn.records][6:] == shots[4:]
    assert drawn.remarks == (
        "1 unlabelled image is left out: it is equal to others or labelled.",
        "3 scored images are left out: they are gone or changed since.",
    )
    for path in shots:
        path.unlink(missing_ok=True)
    with pytest.raises(LineError, match="unlabelled images among the images of caps, got none that can"):
        draw_unlabelled([production], set(), PREPROCESS, line="caps", limit=100, seed=0)


def reason(path: Path) -> str:
    image = read_image(path, PREPROCESS)
    assert isinstance(image, UnreadableImage)
    return image.reason


def test_a_folder_that_is_not_there_or_holds_nothing_to_use_is_a_sentence(folder: Path, tmp_path: Path):
    with pytest.raises(LineError) as missing:
        found(tmp_path / "nowhere")
    assert (
        str(missing.value)
        == f"expected a folder of unlabelled images, got no folder {tmp_path / 'nowhere'}: check the path"
    )
    for other in folder.glob("[1-9c]*"):
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    labelled = "none that can be used (1 unlabelled image is left out: it is equal to others or labelled)"
    for known, got in (((folder / "0.png",), labelled), ((), "none")):
        if not known:
            (folder / "0.png").unlink()
        with pytest.raises(LineError) as empty:
            found(folder, *known)
        assert str(empty.value) == f"expected unlabelled images in {folder}, got {got}: take others, or do without"


def test_a_report_parts_what_was_taken_from_what_was_not_and_says_why():
    images = tuple(
        SeenUnlabelled(path=Path(f"{score}.png"), sha256="ab", score=score, taken=score < 1)
        for score in (3.0, 2.0, 0.5)
    )
    report = TakeUpReport(images=images, limit=1.23456, guarded=False)
    assert [image.score for image in report.left_out] == [3.0, 2.0]
    assert [image.score for image in report.taken] == [0.5]
    assert report.reason == "scores above 1.235 lie apart from the bulk of them"
    guarded = TakeUpReport(images=images, limit=1.23456, guarded=True)
    assert guarded.reason == "scores above 1.235 lie where half of the known defects do"


def test_masks_of_a_line_among_unlabelled_images_show_no_parts(folder: Path):
    """As in a folder to score: they were taken for images of parts, and named as the likeliest defects."""
    save(folder / "earlier/good/0.png", picture(10))
    save(folder / "earlier/masks/0.png", picture(11))
    save(folder / "masks/0.png", picture(12))
    drawn = found(folder)
    assert "earlier/good/0.png" in names(drawn, folder)
    assert "masks/0.png" in names(drawn, folder), "no line's"
    assert "earlier/masks/0.png" not in names(drawn, folder)
    assert drawn.remarks == (
        "earlier/masks/ left out, as masks of a line whose good parts lie beside them: where they are parts, name "
        "their folder itself.",
    )


def test_a_folder_without_anything_that_is_read_says_what_it_holds(tmp_path: Path):
    (tmp_path / "unlabelled").mkdir()
    (tmp_path / "unlabelled" / "a.heic").write_bytes(b"x")
    with pytest.raises(LineError, match=r"got none in .*, but 1 file left out, not read as images \(1 \.heic\)"):
        images_below(tmp_path / "unlabelled")
    (tmp_path / "week.zip").write_bytes(b"PK")
    with pytest.raises(LineError, match=r"got a file, .*/week\.zip: unpack it, and name the folder that comes out"):
        images_below(tmp_path / "week.zip")
