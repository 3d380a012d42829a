"""What a job that uses all of a line leaves out of it, and that it says so in the words of `linewise lines check`."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.episode_draws import sample_images
from pipeline.errors import LineError
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import PreprocessSpec
from pipeline.product_lines.line_check import check_line
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.product_lines.usable_lines import usable_line
from pipeline.storage import sha256_file
from pipeline.support import build_query
from tests.parts.line_on_disk import mask, picture, save, sentences, sound_line
from tests.pipeline.imaging.test_bayer import mosaic


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return sound_line(tmp_path / "bolt")


def names(line: ProductLine) -> dict[str, list[str]]:
    groups = {"train": line.train_good, "test": line.test_good, "defects": line.defects}
    return {group: [record.path.name for record in records] for group, records in groups.items()}


def test_nothing_is_left_out_of_a_sound_line(line):
    assert usable_line(load_line(line)) == (load_line(line), ())


def test_what_cannot_be_used_is_left_out_in_the_words_of_the_check(line):
    shutil.copy(line / "train/good/0.png", line / "train/good/copy.png")
    shutil.copy(line / "train/good/1.png", line / "test/good/known.png")
    shutil.copy(line / "test/good/0.png", line / "test/good/twice.png")
    shutil.copy(line / "test/crack/0.png", line / "test/crack/copy.png")
    (line / "train/good/broken.png").write_bytes((line / "train/good/2.png").read_bytes()[:-30])
    save(line / "test/crack/2.png", picture(30))
    save(line / "ground_truth/crack/2_mask.png", mask(height=50))
    (line / "test/good/a.webp").write_bytes(b"RIFF0000WEBP")
    usable, said = usable_line(load_line(line))
    assert names(usable) == {
        "train": ["0.png", "1.png", "2.png", "3.png"],
        "test": ["0.png", "1.png", "twice.png"],
        "defects": ["0.png", "1.png", "2.png"],
    }
    assert [record.mask_path is not None for record in usable.defects] == [True, True, False]
    assert said == tuple(
        f"bolt: {sentence}" for _, sentence in sentences(check_line(line)) if "without" not in sentence
    )
    for words in (
        "1 image cannot be used: train/good/broken.png (expected a complete PNG, got one that ends early: ",
        "1 mask cannot be used: ground_truth/crack/2_mask.png (expected a mask of its image's size, ",
        "A training and a test image are the same file, which counts in training only: train/good/1.png, test/good/",
        "2 train good images are the same file and count once: train/good/0.png, train/good/copy.png.",
        "2 test good images are the same file and are judged each: test/good/0.png, test/good/twice.png.",
        "2 crack images are the same file and count once: test/crack/0.png, test/crack/copy.png.",
        "1 file left out, not read as images (1 .webp), such as test/good/a.webp: ",
    ):
        assert sum(words in sentence for sentence in said) == 1, words


@pytest.mark.parametrize("simple", [True, False])
def test_no_content_is_on_both_sides_of_an_episode(tmp_path, simple):
    good, defect = ("good", "defect") if simple else ("train/good", "test/crack")
    for number in range(12):
        save(tmp_path / f"{good}/{number}.png", picture(number // 3))
        save(tmp_path / f"{defect}/{number}.png", picture(20 + number // 3))
        if not simple:
            save(tmp_path / f"test/good/{number}.png", picture(number))
    usable, _ = usable_line(load_line(tmp_path))
    for seed in range(5):
        drawn = sample_images(usable, good=2, defects=2, query=12, seed=seed)
        support = {sha256_file(record.path) for record in (*drawn.good, *drawn.defects)}
        assert drawn.query
        assert not support & {sha256_file(record.path) for record in drawn.query}


def test_a_line_that_no_job_can_use_is_refused(line):
    shutil.copy(line / "train/good/0.png", line / "test/crack/7.png")
    with pytest.raises(LineError, match=r"good/0.png, test/crack/7.png in .*bolt: remove it where it does not belong"):
        usable_line(load_line(line))
    save(line / "test/crack/7.png", picture(3).astype(np.uint16) * 256)
    with pytest.raises(LineError, match=r"images of one depth, got 8 of 8 bits and 1 of 16 bits in .*bolt: take all"):
        usable_line(load_line(line))
    for path in (line / "train/good").iterdir():
        path.write_bytes(b"")
    (line / "test/crack/7.png").unlink()
    with pytest.raises(LineError, match=r"good training images that can be read, got none in .*bolt, where 0.png is"):
        usable_line(load_line(line))


class _Seen:
    """Features that are the image itself."""

    def features(self, items):
        return [np.stack([load().transpose(2, 0, 1).astype(np.float32) for _, load in items])]


def test_deep_images_are_seen_with_their_lines_white_level(tmp_path):
    for number in range(4):
        save(tmp_path / f"good/{number}.png", picture(number).astype(np.uint16) * 16)
    usable, _ = usable_line(load_line(tmp_path))
    assert {record.white_level for record in usable.train_good} == {4095}
    query = build_query(usable.train_good, _Seen(), PreprocessSpec(height=96, width=128))
    brightest = max(picture(number).max() for number in range(4))
    assert query.levels[0].max() == pytest.approx(brightest, abs=1), "not the sixteenth of it"


def test_mosaics_are_seen_in_colour_where_their_pattern_is_stated_and_other_lines_as_they_are(tmp_path):
    """Only `adapt` could be told: what was evaluated was another line, in grey."""
    green = np.array([0.6, 1.0, 0.5])  # of BGR: a sensor sees more of it
    colours = [(picture(number) * green).astype(np.uint8) for number in range(4)]
    for number, pixels in enumerate(colours):
        save(tmp_path / f"mosaics/good/{number}.png", mosaic(pixels[:, :, ::-1], BayerPattern.GRBG))
        save(tmp_path / f"grey/good/{number}.png", pixels[:, :, 0])
        save(tmp_path / f"colour/good/{number}.png", pixels)
    lines = {name: load_line(tmp_path / name) for name in ("mosaics", "grey", "colour")}
    _, said = usable_line(lines["mosaics"])
    assert "Bayer mosaics? They are read as grey." in said[0]
    usable, said = usable_line(lines["mosaics"], bayer=BayerPattern.GRBG)
    assert said == ()
    query = build_query(usable.train_good, _Seen(), PreprocessSpec(height=96, width=128))
    expected = np.stack([pixels[:, :, ::-1].transpose(2, 0, 1) for pixels in colours]).astype(np.float32)
    assert np.abs(query.levels[0].numpy() - expected)[:, :, 4:-4, 4:-4].mean() < 4
    for name in ("grey", "colour"):
        assert usable_line(lines[name], bayer=BayerPattern.GRBG) == usable_line(lines[name])
