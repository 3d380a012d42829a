"""What lies in a bundle's folder, and what is said of a file there that should be another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from deploy.bundles.manifest import SUPPORT_FOLDER
from pipeline.errors import BundleError
from pipeline.system_files import is_system_name


def files_below(folder: Path) -> list[str]:
    """Names of everything in the bundle but plain folders and what systems leave. A link is refused by any name.

    Raises:
        BundleError: a link, or another file that is no plain one.
    """
    names: list[str] = []
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = [name for name in folders if (here / name).is_symlink() or not is_system_name(name)]
        for name in [*files, *(name for name in folders if (here / name).is_symlink())]:
            path = here / name
            if path.is_symlink() or not path.is_file():
                damaged_bundle(path, "plain files only", "a link or a special file")
            if not is_system_name(name):
                names.append(path.relative_to(folder).as_posix())
    return names


def damaged_bundle(path: Path, expected: str, got: str) -> NoReturn:
    """Raise the `BundleError` on a file of a bundle."""
    raise BundleError(
        f"{expected} in the bundle {path.parent if path.parent.name != SUPPORT_FOLDER else path.parent.parent}",
        f"{got} at {path.name}",
        "copy or export the bundle again, or roll the line back to another version",
    )
