"""Thumbnails of what a version learned from: what is written is read, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.bundles.learned_parts import learned_file, learned_thumbnails
from deploy.bundles.manifest import LEARNED
from pipeline.errors import BundleError
from pipeline.product_lines.near_duplicates import THUMBNAIL_SIDE
from tests.parts.plant import bundle_files, make_draft

COUNT = len(make_draft().support.good)


def thumbnails(count: int = COUNT) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8) for _ in range(count)]


def with_file(folder: Path, content: bytes) -> Bundle:
    return write_bundle(folder / "v1", make_draft(), {**bundle_files(), LEARNED: content})


def png(*shape: int, depth: type = np.uint8) -> bytes:
    return cv2.imencode(".png", np.ones(shape, depth))[1].tobytes()


def test_what_is_written_is_read_to_the_grey_level(tmp_path: Path) -> None:
    read = learned_thumbnails(with_file(tmp_path, learned_file(thumbnails())))
    assert read is not None
    np.testing.assert_array_equal(read, np.stack(thumbnails()))


def test_a_bundle_of_before_has_none(tmp_path: Path) -> None:
    assert learned_thumbnails(write_bundle(tmp_path / "v1", make_draft(), bundle_files())) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        learned_file(thumbnails())[:-40],
        learned_file(thumbnails(COUNT + 1)),
        png(COUNT * THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3),
        png(COUNT * THUMBNAIL_SIDE, THUMBNAIL_SIDE, depth=np.uint16),
        png(THUMBNAIL_SIDE, COUNT * THUMBNAIL_SIDE + 1),
        png(20000, 20000),
    ],
)
def test_another_file_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=rf"{COUNT} thumbnails in .*learned\.png, got .*: adapt the line again"):
        learned_thumbnails(with_file(tmp_path, content))
