"""Generated lines: the same product within a line, another in the next; exact masks; MVTec AD folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import StorageError
from pipeline.product_lines.lines import load_line
from pipeline.synthetic.assemblies import PARTS
from pipeline.synthetic.defects import DEFECT_KINDS, border_of
from pipeline.synthetic.lines import LINE_KINDS, generate_line, write_line, write_lines
from pipeline.synthetic.products import STRUCTURAL_KINDS
from pipeline.synthetic.textures import TEXTURES

ORDERED = ("weave", "mesh", "tiles", "perforated", "stripes", "knit")


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def seed_of(kind: str) -> int:
    return LINE_KINDS.index(kind)


def assert_mask_exact(good: np.ndarray, bad: np.ndarray, mask: np.ndarray) -> None:
    """Equal noise on both: what differs does so because of the defect (the camera's blur reaches 3 px further)."""
    difference = np.abs(bad.astype(int) - good).max(2)
    reach = 2 * (border_of(mask.shape) + 4) + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)
    assert not difference[~near].any()
    assert difference[mask].mean() > 5
    assert (difference[mask] > 2).mean() > 0.6


def test_many_kinds_of_textures_and_parts() -> None:
    assert len(TEXTURES) >= 10
    assert len(PARTS) >= 10
    assert sorted(LINE_KINDS) == sorted([*TEXTURES, *PARTS])
    assert {generate_line(seed, size=64).kind for seed in range(len(LINE_KINDS))} == set(LINE_KINDS)


@pytest.mark.parametrize("kind", LINE_KINDS)
def test_every_kind_of_line(kind: str) -> None:
    line = generate_line(seed_of(kind), size=128)
    assert line.kind == kind
    rng = rng_of(1)
    goods = [line.good(rng) for _ in range(4)]
    for image, foreground in goods:
        assert image.dtype == np.uint8
        assert image.shape == (128, 128, 3)
        assert foreground.dtype == np.bool_
        assert foreground.shape == (128, 128)
        assert image.std() > 4, "a blank image"
        assert ((image <= 2) | (image >= 253)).mean() < 0.35, "a clipped image"
        if kind in TEXTURES:
            assert foreground.all()
        else:
            assert 0.02 < foreground.mean() < 0.97
    assert len({good.image.tobytes() for good in goods}) == 4, "good images do not vary"
    means = np.array([good.image.mean((0, 1)) for good in goods])
    assert np.ptp(means, axis=0).max() < 60, "not the same product"
    for _ in range(3):
        good, (image, mask, _) = line.defective_pair(rng)
        assert image.shape == (128, 128, 3)
        assert mask.dtype == np.bool_
        assert max(3, 0.0003 * mask.size) <= mask.sum() <= 0.2 * mask.size
        assert_mask_exact(good.image, image, mask)


@pytest.mark.parametrize("kind", [*ORDERED, *PARTS])
def test_structural_defects_where_there_is_a_structure(kind: str) -> None:
    made = set()
    for seed in (seed_of(kind), seed_of(kind) + len(LINE_KINDS)):
        line = generate_line(seed, size=192)
        if kind == "washer" and not set(STRUCTURAL_KINDS) & set(line.defect_kinds):
            continue  # a plain washer has no parts
        assert set(STRUCTURAL_KINDS) <= set(line.defect_kinds)
        for structural in STRUCTURAL_KINDS:
            good, (image, mask, name) = line.defective_pair(rng_of(seed), structural)
            assert_mask_exact(good.image, image, mask)
            made.add(name)
    assert kind == "washer" or made & set(STRUCTURAL_KINDS)


def test_structural_defects_are_what_they_say() -> None:
    line = generate_line(seed_of("blister"), size=256)
    names = [line.defective(rng_of(seed), "missing_part").kind for seed in range(8)]
    assert names.count("missing_part") >= 7
    line = generate_line(seed_of("cast"))
    assert not set(STRUCTURAL_KINDS) & set(line.defect_kinds)
    with pytest.raises(ValueError, match="defect kind"):
        line.defective(rng_of(0), "missing_part")


def test_all_painted_kinds_on_a_line() -> None:
    line = generate_line(seed_of("gear"), size=128)
    for kind in DEFECT_KINDS:
        good, (image, mask, _) = line.defective_pair(rng_of(5), kind)
        assert_mask_exact(good.image, image, mask)


@pytest.mark.parametrize("seed", [3, 10, 31])
def test_deterministic_for_a_seed(seed: int) -> None:
    def draw() -> list[bytes]:
        line, rng = generate_line(seed, size=96), rng_of(seed)
        good = line.good(rng)
        image, mask, kind = line.defective(rng)
        return [good.image.tobytes(), good.foreground.tobytes(), image.tobytes(), mask.tobytes(), kind.encode()]

    first = draw()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        assert draw() == first
    finally:
        cv2.setNumThreads(threads)


def test_defective_equals_the_pair_and_its_good_half_is_a_good_image() -> None:
    line = generate_line(5, size=96)
    alone = line.defective(rng_of(4))
    good, bad = line.defective_pair(rng_of(4))
    assert np.array_equal(alone.image, bad.image)
    assert np.array_equal(good.image, line.good(rng_of(4)).image)


def test_lines_of_one_kind_differ_and_a_line_is_the_same_at_every_size() -> None:
    first, second = (generate_line(seed_of("chip") + turn * len(LINE_KINDS), size=128) for turn in (0, 1))
    assert np.abs(first.good(rng_of(0)).image.astype(int) - second.good(rng_of(0)).image).mean() > 15
    small = cv2.resize(generate_line(seed_of("chip"), size=256).good(rng_of(0)).image, (128, 128), None, 0, 0, 3)
    assert np.abs(small.astype(int) - first.good(rng_of(0)).image).mean() < 14


@pytest.mark.parametrize(("seed", "size"), [(-1, 256), (0, 63)])
def test_bad_arguments_are_refused(seed: int, size: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        generate_line(seed, size=size)


def test_written_line_is_an_mvtec_folder(tmp_path: Path) -> None:
    folder = write_line(tmp_path / "new" / "root", 1, good=5, test_good=3, defects=8, size=64)
    assert folder.name == "synthetic_washer_001"
    line = load_line(folder)
    assert len(line.train_good) == 5
    assert len(line.test_good) == 3
    assert len(line.defects) == 8
    for record in line.defects:
        assert record.mask_path == folder / "ground_truth" / record.kind / f"{record.path.stem}_mask.png"
        image = cv2.imread(str(record.path))
        mask = cv2.imread(str(record.mask_path), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert mask is not None
        assert image.shape == (64, 64, 3)
        assert mask.shape == (64, 64)
        assert set(np.unique(mask)) == {0, 255}
    assert [path.name for path in (tmp_path / "new" / "root").iterdir()] == [folder.name], "left-overs beside the line"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_writing_is_reproducible_and_idempotent(tmp_path: Path) -> None:
    options = {"good": 2, "test_good": 1, "defects": 4, "size": 64}
    first = write_line(tmp_path / "a", 7, **options)
    second = write_line(tmp_path / "b", 7, **options)
    assert files_of(first) == files_of(second)
    stamps = {path: path.stat().st_mtime_ns for path in first.rglob("*.png")}
    assert write_line(tmp_path / "a", 7, **options) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*.png")} == stamps
    with pytest.raises(StorageError, match="remove that folder"):
        write_line(tmp_path / "a", 7, **{**options, "good": 3})
    assert files_of(first) == files_of(second)


def test_a_foreign_folder_is_never_overwritten(tmp_path: Path) -> None:
    theirs = tmp_path / "synthetic_cast_000"
    theirs.mkdir()
    (theirs / "mine.txt").write_text("keep")
    with pytest.raises(StorageError, match="did not write"):
        write_line(tmp_path, 0, good=1, test_good=0, defects=0, size=64)
    assert (theirs / "mine.txt").read_text() == "keep"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_root_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="expected permission to use"):
        write_line(tmp_path, 0, good=1, test_good=0, defects=0, size=64)


def test_a_file_as_root_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"expected a folder .+/file to write into"):
        write_line(tmp_path / "file", 0, good=1, test_good=0, defects=0, size=64)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(StorageError, match="got a full disk"):
        write_line(tmp_path, 0, good=1, test_good=0, defects=0, size=64)
    assert list(tmp_path.iterdir()) == []


def test_negative_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=">= 0"):
        write_line(tmp_path, 0, good=-1)


def test_write_lines_and_what_the_folder_says_of_itself(tmp_path: Path) -> None:
    folders = write_lines(tmp_path, [2, 5], good=1, test_good=1, defects=2, size=64)
    assert [folder.name for folder in folders] == ["synthetic_weave_002", "synthetic_connector_005"]
    parameters = json.loads((folders[1] / "synthetic.json").read_text())
    assert parameters["seed"] == 5
    assert parameters["size"] == 64
