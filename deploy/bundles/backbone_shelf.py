"""The backbones of a registry: a folder each, named by its fingerprint, shared by all lines adapted on it."""

from __future__ import annotations

from pathlib import Path

from deploy.bundles.manifest import FILE_NAME
from deploy.bundles.packs import copy_backbone
from deploy.engine.backbone_artefact import load_backbone_artefact
from pipeline.errors import BundleError, ConfigError
from pipeline.features import BackboneArtefact
from pipeline.storage import file_lock, new_folder, storage_errors, sweep_partials
from pipeline.system_files import is_passed_over

LOCK = ".lock"


class BackboneShelf:
    """Keeps backbones. Each is written once, whole, and never changed.

    Args:
        shelf: the folder; made when the first backbone is added.
    """

    def __init__(self, shelf: Path) -> None:
        self._shelf = shelf

    def folder(self, fingerprint: str) -> Path:
        """Where the backbone of that fingerprint lies, or would."""
        if not FILE_NAME.fullmatch(fingerprint) or "/" in fingerprint:
            raise ConfigError("a backbone's fingerprint", repr(fingerprint), "take it from the bundle's manifest")
        return self._shelf / fingerprint

    def fingerprints(self) -> list[str]:
        """Fingerprints of the registered backbones, sorted; not checked. What is half written begins with a dot.

        Raises:
            StorageError: they cannot be listed.
        """
        with storage_errors(self._shelf):
            paths = self._shelf.iterdir() if self._shelf.is_dir() else ()
            return sorted(path.name for path in paths if path.is_dir() and not is_passed_over(path.name))

    def backbone(self, fingerprint: str) -> BackboneArtefact:
        """A registered backbone, its hash checked.

        Raises:
            BundleError: it is not there, or damaged.
            StorageError: it cannot be read.
        """
        folder = self.folder(fingerprint)
        with storage_errors(folder):
            there = folder.is_dir()
        if not there:
            raise BundleError(f"the backbone {fingerprint} at {folder}", "none", "adapt the line on this machine again")
        return load_backbone_artefact(folder)

    def add(self, artefact: BackboneArtefact) -> BackboneArtefact:
        """Copy a backbone onto the shelf. One that is already there stays, and is returned.

        Raises:
            BundleError: the files are damaged, or another graph is registered under the same fingerprint.
            StorageError: the disk is full or read-only.
        """
        folder = self.folder(artefact.spec.fingerprint)
        with file_lock(self._shelf / LOCK):
            with storage_errors(self._shelf):
                sweep_partials(self._shelf)
            if not folder.is_dir():
                with new_folder(folder) as partial:
                    copy_backbone(artefact, partial)
        registered = load_backbone_artefact(folder)
        if registered.onnx_sha256 != artefact.onnx_sha256:
            raise BundleError(
                f"the graph {artefact.onnx_sha256[:12]}... of backbone {artefact.spec.fingerprint} at {folder}",
                f"{registered.onnx_sha256[:12]}..., exported by other software",
                "use the registered backbone: live bundles were made with it",
            )
        return registered
