"""The bundle: everything one version of one line's model is, in one folder, with a hash of every byte.

    manifest.sha256     sha256 of manifest.json, as `sha256sum --check` reads it
    manifest.sig        who made it, where somebody signed it (`deploy.bundles.signatures`)
    manifest.json       what this is, where it came from, and the sha256 of every file below
    card.md             the same for people
    head.onnx           the line's anomaly head; the backbone is shared and lies in the registry (or in a pack)
    first_look.onnx     the head of a first, cheap look, where the line has one; its backbone lies there, too
    bank_sources.npy    for each row of the coarsest bank, the support image and cell it came from
    kinds.npz           prototypes of the line's kinds of defects, where two or more are named
    region.png          what of the image is looked at, white; of a line with a region of interest only
    learned.png         thumbnails of all good support images; bundles of before have none
    support/000.jpg     good support images at model size, by the bank's image numbers

A bundle's id is the sha256 of its manifest, which holds every other hash: equal ids mean equal bundles. Nothing in a
bundle is pickled, and no byte is used before its hash is checked. Whatever else lies there is refused, but for what
file managers and storages leave in every folder (`pipeline.system_files`): that is neither read nor copied.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from deploy.bundles.bundle_arrays import read_bank_sources, read_kinds
from deploy.bundles.bundle_files import damaged_bundle, files_below
from deploy.bundles.card import render_card
from deploy.bundles.manifest import (
    BANK_SOURCES,
    CARD,
    FILE_NAME,
    FORMAT_VERSION,
    HEAD,
    KINDS,
    MANIFEST,
    REGION,
    SEAL,
    SIGNATURE,
    SUPPORT_FOLDER,
    BundleDraft,
    BundleManifest,
    linewise_version,
)
from deploy.bundles.signatures import refuse_unsigned, signature_of
from deploy.bundles.verdict import AT_FIRST_LOOK, NOT_JUDGED, Scored, Verdict
from pipeline.bounded_reading import read_at_most
from pipeline.calibration import Decision
from pipeline.errors import BundleError
from pipeline.kinds import KindsOfDefects
from pipeline.likeness import Seen
from pipeline.region_of_interest import RegionOfInterest
from pipeline.regions import MarkedMap
from pipeline.settings import load_settings
from pipeline.storage import fsync_folder, new_folder, replace_file, sha256_file, storage_errors, write_durably

_MAX_MANIFEST_BYTES = 16 * 1024 * 1024
_MAX_SEAL_BYTES = 1024


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte was checked. `id` is the sha256 of its manifest."""

    path: Path
    manifest: BundleManifest
    id: str

    @property
    def head_path(self) -> Path:
        """The line's anomaly head as an ONNX graph."""
        return self.path / HEAD

    @property
    def head_sha256(self) -> str:
        """What the head's bytes hash to."""
        return self.manifest.files[HEAD]

    @property
    def card_path(self) -> Path:
        """The model card."""
        return self.path / CARD

    @property
    def support_paths(self) -> list[Path]:
        """The good support images at model size that the bundle shows, in the order of the bank's image numbers."""
        return list(self.support_pictures.values())

    @property
    def support_pictures(self) -> dict[int, Path]:
        """The same by the bank's image numbers, ascending; of many images it holds those of most of the bank's rows."""
        paths = [self.path / name for name in self.manifest.files if name.startswith(f"{SUPPORT_FOLDER}/")]
        return dict(sorted((int(path.stem), path) for path in paths if path.stem.isdecimal()))

    def judge(self, scored: Scored, seen: Seen) -> Verdict:
        """The decision on an image: the one place where any is made of a score that a bundle's head gave.

        `Threshold.decide` is its arithmetic, for a finite score alone. Whoever has no bundle yet (calibration,
        evaluation) uses that; whoever has one asks here. Asked for every image by the threads that score: it reads the
        map only of what the score flags. What is unlike the line is a person's to look at, whatever its score.
        """
        if not scored.finite:  # a part that the model cannot judge never passes
            return Verdict(Decision.REJECT if scored.score == math.inf else Decision.REVIEW, NOT_JUDGED, judged=False)
        threshold, likeness = self.manifest.threshold, self.manifest.likeness
        if likeness is not None and (problem := likeness.problem(seen, scored.distance)) is not None:
            return Verdict(Decision.REVIEW, problem)
        decision = threshold.decide(scored.score)
        if decision is Decision.PASS:
            return Verdict(decision, AT_FIRST_LOOK if scored.at_first_look else None)
        marked = MarkedMap(scored.anomaly_map, threshold.pixel)
        if not threshold.large_enough(marked.largest):
            return Verdict(Decision.PASS, f"no marked region covers {threshold.least_area_in_words([seen.size])}")
        least, side, placement = threshold.least_area, threshold.millimetres_per_pixel, seen.placement
        regions = marked.regions(seen.size, least_area=least, millimetres_per_pixel=side, placement=placement)
        return Verdict(decision, regions=regions)

    @cached_property
    def region(self) -> RegionOfInterest | None:
        """What of the image is looked at, None: all of it.

        Raises:
            BundleError: the file holds something else.
        """
        if self.manifest.region is None:
            return None
        path = self.path / REGION
        try:
            return RegionOfInterest.from_png(path.read_bytes())
        except (OSError, ValueError) as error:
            remedy = "adapt the line again to make a new version"
            raise BundleError(f"a mask image in {path}", f"'{error}'", remedy) from error

    @cached_property
    def kinds(self) -> KindsOfDefects | None:
        """The line's kinds of defects, None: fewer than two were named.

        Raises:
            BundleError: the file holds something else.
        """
        record, channels = self.manifest.kinds, tuple(level.channels for level in self.manifest.spec.levels)
        return None if record is None else read_kinds(self.path / KINDS, record, channels)

    def copy_to(self, folder: Path) -> None:
        """Copy every file, durably, into the existing empty folder `folder`, the manifest last."""
        signed = [SIGNATURE] if (self.path / SIGNATURE).is_file() else []
        for name in [*self.manifest.files, SEAL, *signed, MANIFEST]:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            write_durably(target, self.path / name)

    def bank_sources(self) -> NDArray[np.integer] | None:
        """(N, 4) integers: for each row of the coarsest bank its support image, augmentation, row and column.

        None when the bundle has none.

        Raises:
            BundleError: the file holds something else.
        """
        if BANK_SOURCES not in self.manifest.files:
            return None
        return read_bank_sources(self.path / BANK_SOURCES)


def write_bundle(folder: Path, draft: BundleDraft, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle beside its final name, make it durable, and let it appear in one step.

    Args:
        folder: the bundle's final name; nothing (or an empty folder) may be there.
        draft: the manifest but for the hashes.
        files: content (bytes, or a file to copy) by name in the bundle: "head.onnx", "bank_sources.npy",
            "support/000.jpg"... The card and the manifest are written here and must not be among them.

    Where LINEWISE_SIGNING_KEY names a key, the bundle is signed with it.

    Raises:
        ConfigError: that key cannot be used. Nothing is left behind.
        StorageError: something is there already, or the disk is full or read-only. Nothing is left behind.
    """
    assert HEAD in files, f"{HEAD} is what a bundle is for"
    assert not {MANIFEST, SEAL, SIGNATURE, CARD} & files.keys(), "write_bundle writes the manifest and the card itself"
    assert all(FILE_NAME.fullmatch(name) for name in files), f"unusable name among {sorted(files)}"
    with new_folder(folder) as partial:
        hashes: dict[str, str] = {}
        for name, content in {**files, CARD: render_card(draft).encode()}.items():
            target = partial / name
            target.parent.mkdir(exist_ok=True)
            hashes[name] = write_durably(target, content)
        manifest = BundleManifest.model_validate({**draft.model_dump(), "files": dict(sorted(hashes.items()))})
        encoded = f"{manifest.model_dump_json(indent=2)}\n".encode()
        identity = hashlib.sha256(encoded).hexdigest()
        write_durably(partial / SEAL, f"{identity}  {MANIFEST}\n".encode())
        if (key := load_settings().signing_key) is not None:
            write_durably(partial / SIGNATURE, signature_of(encoded, key))
        write_durably(partial / MANIFEST, encoded)
        fsync_folder(partial)
    return Bundle(folder, manifest, identity)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check every byte of it, and who signed it where this machine demands that.

    Raises:
        BundleError: it is no bundle, of a newer format, a file is missing, changed or not listed, or nobody who is
            trusted signed it.
        ConfigError: signatures are demanded, and a trusted key cannot be used.
        StorageError: a file cannot be read.
    """
    bundle, encoded = _read_manifest(folder)
    refuse_unsigned(folder, encoded, load_settings())
    _refuse_changes(bundle)
    return bundle


def sign_bundle(folder: Path, key_file: Path) -> None:
    """Sign a bundle whose every byte is as its manifest says; a signature that it has is replaced.

    Raises:
        BundleError: it is damaged.
        ConfigError: the key cannot be used.
        StorageError: a file cannot be read or written.
    """
    bundle, encoded = _read_manifest(folder)
    _refuse_changes(bundle)
    replace_file(folder / SIGNATURE, signature_of(encoded, key_file))


def _refuse_changes(bundle: Bundle) -> None:
    folder = bundle.path
    expected = {*bundle.manifest.files, MANIFEST, SEAL, SIGNATURE}
    with storage_errors(folder):
        found = set(files_below(folder))
        for name in sorted(found - expected):
            damaged_bundle(folder / name, "only the files that the manifest names", "one more")
        for name, sha256 in bundle.manifest.files.items():
            if name not in found:
                damaged_bundle(folder / name, "every file that the manifest names", "none of that name")
            if (actual := sha256_file(folder / name)) != sha256:
                damaged_bundle(folder / name, f"content of sha256 {sha256[:12]}...", f"{actual[:12]}...")


def read_manifest(folder: Path) -> Bundle:
    """Read and check a bundle's manifest only; `load_bundle` also checks the files, and must before they are used.

    Raises:
        BundleError: it is no bundle, of a newer format, or the manifest was changed.
        StorageError: the manifest cannot be read.
    """
    return _read_manifest(folder)[0]


def _read_manifest(folder: Path) -> tuple[Bundle, bytes]:
    path = folder / MANIFEST
    with storage_errors(path):
        if not path.is_file():
            raise BundleError(
                f"a bundle (a folder with {MANIFEST}) at {folder}",
                "no such folder" if not folder.is_dir() else f"a folder without {MANIFEST}",
                "name a bundle's own folder, or adapt the line to make one",
            )
        encoded = read_at_most(path, _MAX_MANIFEST_BYTES)
        seal = folder / SEAL
        sealed = read_at_most(seal, _MAX_SEAL_BYTES) if seal.is_file() else None
    identity = hashlib.sha256(encoded).hexdigest()
    if sealed is not None and sealed != f"{identity}  {MANIFEST}\n".encode():
        damaged_bundle(path, f"the content that {SEAL} was made for", "another (one of the two was changed)")
    _refuse_newer(path, encoded)
    if sealed is None:
        damaged_bundle(seal, f"{SEAL} beside {MANIFEST}", "none")
    try:
        manifest = BundleManifest.model_validate_json(encoded)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the manifest"
        raise BundleError(
            f"a manifest of format {FORMAT_VERSION} in {path}", f"'{where}: {first['msg']}'", "adapt the line again"
        ) from error
    return Bundle(folder, manifest, identity), encoded


def _refuse_newer(path: Path, encoded: bytes) -> None:
    try:
        format_version = json.loads(encoded)["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        damaged_bundle(path, "JSON with a format_version", "something else")
    if isinstance(format_version, int) and format_version > FORMAT_VERSION:
        raise BundleError(
            f"a bundle of format {FORMAT_VERSION} or older at {path.parent}",
            f"format {format_version}",
            f"upgrade Linewise on this machine (here: {linewise_version()})",
        )
