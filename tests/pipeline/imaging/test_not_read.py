"""What is said of files that no image is read from."""

import pytest

from pipeline.imaging.files import iter_image_files
from pipeline.imaging.not_read import NotRead

READ = "what is read is .bmp, .jpeg, .jpg, .png, .tif, .tiff"


def seen(folder, *names, masks=()):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    not_read = NotRead(folder, masks)
    list(iter_image_files(folder, not_read.see))
    return not_read


def test_how_many_which_and_an_example(tmp_path):
    not_read = seen(tmp_path, "good/b.heic", "good/a.webp", "good/c.jfif", "good/1.png", "other/A.WEBP", "frame_0001")
    assert not_read.sentences == (
        "5 files left out, not read as images (2 .webp, 1 .heic, 1 .jfif, 1 without a suffix), such as frame_0001: "
        f".jfif is JPEG, so rename it to .jpg; {READ}.",
    )
    assert not_read.pictures == 4
    assert seen(tmp_path / "good").sentences[0].startswith("3 files left out")


def test_archives_are_to_be_unpacked(tmp_path):
    """Beside good/ they were told as if they were pictures in another format."""
    (sentence,) = seen(tmp_path, "good/1.png", "more.zip", "night.7z").sentences
    assert sentence == (
        "2 files left out, not read as images (1 .7z, 1 .zip), such as more.zip: unpack .7z and .zip where they hold "
        f"images; {READ}."
    )


@pytest.mark.parametrize("name", ["a.gif", "a.AVIF", "a.raw", "a.png.part", "a.jpg.1", "a.mp4", "a.zip", "Bild"])
def test_nothing_is_left_out_in_silence(tmp_path, name):
    (sentence,) = seen(tmp_path, "1.png", name).sentences
    assert sentence.startswith("1 file left out")
    assert f"such as {name}: " in sentence


def test_notes_and_what_systems_leave_are_not_spoken_of(tmp_path):
    names = (
        "notes.txt",
        "LICENSE",
        "readme.md",
        "rows.csv",
        "labels.JSON",
        "Thumbs.db",
        ".DS_Store",
        ".x.webp",
        "1.png",
    )
    assert seen(tmp_path, *names, "@eaDir/a.webp").sentences == ()
    assert seen(tmp_path).pictures == 0


def test_notes_among_masks_may_be_labels(tmp_path):
    masks = tmp_path / "masks"
    (sentence,) = seen(tmp_path, "masks/0.json", "masks/1.json", "good/0.json", masks=[masks]).sentences
    assert sentence.startswith("2 files left out, not read as images (2 .json), such as masks/0.json: ")


def test_many_kinds_are_cut(tmp_path):
    (sentence,) = seen(tmp_path, *(f"frame.{number:03}" for number in range(9))).sentences
    assert "1 .005 and 3 more kinds), such as frame.000: " in sentence
