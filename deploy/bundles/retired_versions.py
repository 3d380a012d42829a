"""Versions of a line that nobody needs any more, and how they go.

Those stay that are among the newest, live, or were live before (`registry roll-back` leads there), and those that one
of these names: the one it replaced, the one its head, its threshold or its float32 backbone is from. So do those that
cannot be read: a person should look at them. Backbones stay; lines share them.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from deploy.bundles.backbone_shelf import LOCK
from deploy.bundles.bundle import read_manifest
from deploy.bundles.line_folder import read_pointer, slug
from deploy.bundles.manifest import BundleManifest
from deploy.bundles.registry import Registry, VersionRecord
from pipeline.storage import PARTIAL_SUFFIX, file_lock, fsync_folder, storage_errors, sweep_partials


def retired_versions(registry: Registry, line: str, keep: int, in_use: Collection[str]) -> list[VersionRecord]:
    """Those that would go, oldest first.

    Args:
        registry: of the line.
        line: its name.
        keep: how many of the newest stay in any case.
        in_use: ids of bundles that stay, too.

    Raises:
        ConfigError: no such line.
        BundleError: what is live cannot be told.
    """
    records = registry.versions(line)
    pointer = read_pointer(_folder(registry, line))
    stay = {record.version for record in records[-keep:]}
    stay |= set() if pointer is None else {pointer.version, *pointer.history}
    named = {name for record in records if record.version in stay for name in _named_by(record.manifest)}
    return [
        record
        for record in records
        if record.manifest is not None
        and record.version not in stay | named
        and read_manifest(record.path).id not in in_use
    ]


def remove_retired(
    registry: Registry, line: str, keep: int, in_use: Callable[[], Collection[str]]
) -> list[VersionRecord]:
    """Remove them; nobody promotes or adds a version meanwhile.

    A version vanishes whole, in one step; what a process that is killed then leaves is swept by the next writer.

    Raises:
        ConfigError, BundleError: as `retired_versions` says.
        StorageError: a folder cannot be removed.
    """
    folder = _folder(registry, line)
    with file_lock(folder / LOCK), storage_errors(folder):
        sweep_partials(folder)
        retired = retired_versions(registry, line, keep, in_use())
        for record in retired:
            aside = folder / f".{record.version}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
            record.path.rename(aside)
            fsync_folder(folder)
            shutil.rmtree(aside)
    return retired


def _named_by(manifest: BundleManifest | None) -> set[str]:
    if manifest is None:
        return set()
    by_hand = manifest.lineage.set_by_hand
    named = {
        manifest.lineage.parent,
        manifest.calibration and manifest.calibration.calibrated_from,
        manifest.int8 and manifest.int8.float32_version,
        by_hand and by_hand.set_from,
    }
    return {name for name in named if name}


def _folder(registry: Registry, line: str) -> Path:
    return registry.home / "lines" / slug(line)
