"""The feature cache: the right features, computed once, whatever happens to the files."""

from __future__ import annotations

import hashlib
import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import StorageError
from pipeline.feature_store import FeatureKey, FeatureStore
from pipeline.features import BackboneSpec, FeatureGroup, FeatureLevel, Levels
from pipeline.imaging.images import PreprocessSpec
from tests.checkout import REPOSITORY
from tests.parts.plant import mounted_tmpfs

SMALL = 32
PREPROCESS = PreprocessSpec(height=SMALL, width=SMALL)
ENTRY_BYTES = 2 * (6 * 4 * 4 + 3 * 2 * 2)


class BlockMeans:
    """A small extractor in plain numpy: means and maxima of 8-pixel blocks, means of 16-pixel blocks."""

    def __init__(self, fingerprint: str = "f" * 16, gain: float = 1.0) -> None:
        self.seen: list[int] = []
        self.gain = gain
        self.spec = BackboneSpec(
            name="block_means",
            weights_sha256="",
            weights_source="",
            weights_licence="",
            height=SMALL,
            width=SMALL,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            levels=(
                FeatureLevel(stride=8, channels=6, height=4, width=4),
                FeatureLevel(stride=16, channels=3, height=2, width=2),
            ),
            groups=(
                FeatureGroup(name="mean_max", level=0, start=0, stop=6),
                FeatureGroup(name="mean", level=1, start=0, stop=3),
            ),
            fingerprint=fingerprint,
        )

    def extract(self, images_BHWC: NDArray[np.uint8]) -> Levels:
        self.seen.append(len(images_BHWC))
        fine = images_BHWC.reshape(-1, 4, 8, 4, 8, 3).astype(np.float32)
        coarse = images_BHWC.reshape(-1, 2, 16, 2, 16, 3).astype(np.float32)
        levels = [np.concatenate([fine.mean((2, 4)), fine.max((2, 4))], -1), coarse.mean((2, 4))]
        return [np.ascontiguousarray(level.transpose(0, 3, 1, 2) * self.gain) for level in levels]


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)


def key(seed: int, transform: str = "plain", preprocess: PreprocessSpec = PREPROCESS) -> FeatureKey:
    return FeatureKey(hashlib.sha256(picture(seed).tobytes()).hexdigest(), preprocess, transform)


def item(seed: int):
    return key(seed), lambda: picture(seed)


def refuse() -> NDArray[np.uint8]:
    raise AssertionError("a cached image was loaded again")


def as_float16(levels: Levels) -> Levels:
    return [level.astype(np.float16).astype(np.float32) for level in levels]


def assert_levels(got: Levels, expected: Levels) -> None:
    for left, right in zip(got, expected, strict=True):
        assert left.dtype == np.float32
        np.testing.assert_array_equal(left, right)


def test_computed_then_remembered_then_read(tmp_path: Path) -> None:
    extractor = BlockMeans()
    store = FeatureStore(tmp_path, extractor, batch_size=2)
    expected = as_float16(BlockMeans().extract(np.stack([picture(i) for i in range(5)])))
    assert_levels(store.features([item(i) for i in range(5)]), expected)
    assert extractor.seen == [2, 2, 1]
    assert_levels(store.features([(key(i), refuse) for i in range(5)]), expected)
    cold = FeatureStore(tmp_path, extractor)
    assert_levels(cold.features([(key(i), refuse) for i in range(5)]), expected)
    assert extractor.seen == [2, 2, 1]


def test_a_result_does_not_depend_on_a_warm_cache(tmp_path: Path) -> None:
    extractor = BlockMeans(gain=1 / 3)
    exact = extractor.extract(picture(0)[None])
    fresh = FeatureStore(tmp_path, extractor).features([item(0)])
    warm = FeatureStore(tmp_path, extractor).features([(key(0), refuse)])
    assert_levels(warm, fresh)
    assert not np.array_equal(fresh[0], exact[0])  # rounded to float16, both times
    np.testing.assert_allclose(fresh[0], exact[0], rtol=2**-11)


def test_order_and_repeats(tmp_path: Path) -> None:
    extractor = BlockMeans()
    store = FeatureStore(tmp_path, extractor)
    store.features([item(2)])
    mixed = store.features([item(1), (key(2), refuse), item(0), item(1)])
    assert extractor.seen == [1, 2]  # the repeat was computed once
    assert_levels(mixed, as_float16(BlockMeans().extract(np.stack([picture(i) for i in (1, 2, 0, 1)]))))


def test_nothing_asked_nothing_given(tmp_path: Path) -> None:
    fine, coarse = FeatureStore(tmp_path, BlockMeans()).features([])
    assert fine.shape == (0, 6, 4, 4) and coarse.shape == (0, 3, 2, 2)


def test_everything_that_changes_features_changes_the_entry(tmp_path: Path) -> None:
    store, other = FeatureStore(tmp_path, BlockMeans()), FeatureStore(tmp_path, BlockMeans("0" * 16))
    paths = {
        store.path_of(key(0)),
        store.path_of(key(1)),
        store.path_of(key(0, "hflip")),
        store.path_of(key(0, "synthetic:7")),
        store.path_of(key(0, preprocess=replace(PREPROCESS, white_level=1023))),
        store.path_of(key(0, preprocess=replace(PREPROCESS, height=64))),
        other.path_of(key(0)),
    }
    assert len(paths) == 7
    assert all(path.resolve().is_relative_to(tmp_path) for path in paths)
    assert store.path_of(key(0, "../../escape")).resolve().is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:-30],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content + b"\0",
    ],
    ids=["empty", "tiny", "cut", "flipped", "digest", "longer"],
)
def test_damaged_entries_are_computed_again(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    extractor = BlockMeans()
    store = FeatureStore(tmp_path, extractor)
    expected = store.features([item(0)])
    path = store.path_of(key(0))
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    assert_levels(FeatureStore(tmp_path, extractor).features([item(0)]), expected)
    assert extractor.seen == [1, 1]
    assert path.read_bytes() == intact  # and mended
    assert "damaged" in caplog.text


def test_an_entry_copied_to_another_name_is_not_taken_for_it(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, BlockMeans())
    store.features([item(0)])
    target = store.path_of(key(1))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(store.path_of(key(0)).read_bytes())
    assert_levels(store.features([item(1)]), as_float16(BlockMeans().extract(picture(1)[None])))


def test_memory_is_bounded_and_drops_the_least_recently_used(tmp_path: Path) -> None:
    extractor = BlockMeans()
    store = FeatureStore(tmp_path, extractor, memory_bytes=2 * ENTRY_BYTES)
    store.features([item(0), item(1)])
    store.features([(key(0), refuse)])
    store.features([item(2)])  # pushes out 1, which was used before 0
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    store.features([(key(0), refuse), (key(2), refuse)])
    extractor.seen.clear()
    store.features([item(1)])
    assert extractor.seen == [1]
    assert store._memory._bytes <= 2 * ENTRY_BYTES
    without = FeatureStore(tmp_path / "other", extractor, memory_bytes=0)
    without.features([item(0)])
    assert without._memory._bytes == 0


def test_large_values_saturate_instead_of_becoming_infinite(tmp_path: Path) -> None:
    fine, _ = FeatureStore(tmp_path, BlockMeans(gain=1e6)).features([item(0)])
    assert np.isfinite(fine).all() and fine.max() == np.finfo(np.float16).max


def test_wrong_images_are_refused_and_loader_errors_pass(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, BlockMeans())
    with pytest.raises(ValueError, match=r"expected uint8 \(32, 32, 3\), got float64"):
        store.features([(key(0), lambda: picture(0) / 255)])
    with pytest.raises(ValueError, match=r"got uint8 \(16, 32, 3\)"):
        store.features([(key(0), lambda: picture(0)[:16])])
    with pytest.raises(AssertionError, match="loaded again"):
        store.features([(key(0), refuse)])
    with pytest.raises(ValueError, match="batch_size"):
        FeatureStore(tmp_path, BlockMeans(), batch_size=0)


def test_what_was_computed_before_an_error_stays(tmp_path: Path) -> None:
    extractor = BlockMeans()
    store = FeatureStore(tmp_path, extractor, batch_size=1)
    with pytest.raises(AssertionError, match="loaded again"):
        store.features([item(0), (key(1), refuse)])
    store.features([(key(0), refuse), item(1)])


def test_unusable_folders_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"expected a folder .+ to write into"):
        FeatureStore(tmp_path / "file", BlockMeans())
    store = FeatureStore(tmp_path / "cache", BlockMeans())
    store.path_of(key(0)).parent.write_text("in the way")
    with pytest.raises(StorageError, match="expected an existing path"):
        store.features([item(0)])


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with mounted_tmpfs(tmp_path / "small", kilobytes=4) as folder:
        store = FeatureStore(folder, BlockMeans())
        (folder / "full").write_bytes(bytes(4096))
        with pytest.raises(StorageError) as caught:
            store.features([item(0)])
        entry = store.path_of(key(0))
        assert str(caught.value) == (
            f"expected room on the disk to write {entry}, got a full disk (or a used-up quota): "
            "free some space or choose another folder, then run it again"
        )
        assert list(entry.parent.iterdir()) == []


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, BlockMeans(), memory_bytes=3 * ENTRY_BYTES)
    expected = as_float16(BlockMeans().extract(np.stack([picture(i) for i in range(6)])))
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: store.features([item(i) for i in range(6)]), range(24)):
            assert_levels(got, expected)
    assert store._memory._bytes == sum(flat.nbytes for flat in store._memory._entries.values()) <= 3 * ENTRY_BYTES


def _fill(folder: Path, rounds: int) -> list[bytes]:
    """One process: compute, then read from disk with a new store, again and again."""
    results = []
    for _ in range(rounds):
        levels = FeatureStore(folder, BlockMeans(), memory_bytes=0).features([item(i) for i in range(8)])
        results.append(b"".join(level.tobytes() for level in levels))
        for path in folder.rglob("*.npy"):
            path.unlink(missing_ok=True)  # so that others read while it is written anew
    return results


def test_processes_share_a_folder(tmp_path: Path) -> None:
    expected = b"".join(
        level.tobytes() for level in as_float16(BlockMeans().extract(np.stack([picture(i) for i in range(8)])))
    )
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        for results in pool.starmap(_fill, [(tmp_path, 15)] * 3):
            assert set(results) == {expected}
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]  # no scratch file stays


def test_with_the_exported_backbone(tmp_path: Path) -> None:
    from deploy.engine.extractor import OrtExtractor
    from tests.parts.backbones import SIZE, artefact, images  # here, so that the processes above start without torch

    extractor = OrtExtractor(artefact(), threads=1)
    preprocess = PreprocessSpec(height=SIZE, width=SIZE)
    pixels = images()
    keys = [FeatureKey(hashlib.sha256(image.tobytes()).hexdigest(), preprocess) for image in pixels]
    store = FeatureStore(tmp_path, extractor)
    got = store.features([(name, lambda image=image: image) for name, image in zip(keys, pixels, strict=True)])
    assert_levels(got, as_float16(extractor.extract(pixels)))
    assert_levels(FeatureStore(tmp_path, extractor).features([(name, refuse) for name in keys]), got)


def test_the_store_needs_no_torch() -> None:
    code = "import sys; import pipeline.feature_store; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
