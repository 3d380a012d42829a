"""What scoring needs of one line, together: its bundle and its backbone; and the pack, both in one folder that travels.

<pack>/bundle/      the bundle, byte for byte (deploy/bundles/bundle.py)
<pack>/backbone/    backbone.onnx and backbone.json
<pack>/first_backbone/    the same of the first look, where the line has one
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from deploy.bundles.bundle import Bundle, load_bundle
from deploy.bundles.manifest import BackboneRecord
from deploy.engine.backbone_artefact import load_backbone_artefact
from pipeline.errors import BundleError
from pipeline.features import BackboneArtefact, BackboneSpec
from pipeline.storage import new_folder, write_durably

BUNDLE_FOLDER = "bundle"
BACKBONE_FOLDER = "backbone"
FIRST_BACKBONE_FOLDER = "first_backbone"
BACKBONE_FILES = ("backbone.onnx", "backbone.json")


@dataclass(frozen=True)
class Deployment:
    """A checked bundle and the backbones it was made for, a second one for its first look: all that `score` needs."""

    bundle: Bundle
    backbone: BackboneArtefact
    first_backbone: BackboneArtefact | None = None

    def __post_init__(self) -> None:
        manifest = self.bundle.manifest
        require_backbone(self.backbone, manifest.backbone, manifest.spec, self.bundle)
        if (first := manifest.first_look) is not None:
            require_backbone(self.first_backbone, first.backbone, first.spec, self.bundle)


def require_backbone(
    artefact: BackboneArtefact | None, wanted: BackboneRecord, spec: BackboneSpec, bundle: Bundle
) -> None:
    """Raise a `BundleError` unless it is the backbone that a bundle was made with."""
    needed = f"the backbone {wanted.fingerprint} (graph {wanted.onnx_sha256[:12]}...) that {bundle.path} needs"
    if artefact is None:
        raise BundleError(needed, "none", "export the line again, or adapt it again")
    if (artefact.spec.fingerprint, artefact.onnx_sha256) != (wanted.fingerprint, wanted.onnx_sha256):
        raise BundleError(
            needed,
            f"{artefact.spec.fingerprint} (graph {artefact.onnx_sha256[:12]}...) at {artefact.folder}",
            "adapt the line again, or restore the backbone the bundle was made with",
        )
    if _without_origin(artefact.spec) != _without_origin(spec):  # no hash is of that file
        raise BundleError(
            f"backbone.json to describe the backbone as the manifest of {bundle.path} does",
            f"other figures at {artefact.folder}",
            "copy the backbone again, or adapt the line again",
        )


def _without_origin(spec: BackboneSpec) -> BackboneSpec:
    """What a backbone computes; equal weights may have come by two ways."""
    return replace(spec, weights_source="", weights_licence="")


def copy_backbone(artefact: BackboneArtefact, target: Path) -> None:
    """Copy a backbone's files into the existing folder `target`, checking the graph on the way.

    Raises:
        BundleError: the graph's bytes are not those that the artefact names.
    """
    written = {name: write_durably(target / name, artefact.folder / name) for name in BACKBONE_FILES}
    if written["backbone.onnx"] != artefact.onnx_sha256:
        raise BundleError(
            f"a backbone graph of sha256 {artefact.onnx_sha256[:12]}... at {artefact.onnx_path}",
            f"{written['backbone.onnx'][:12]}...",
            "export the backbone again",
        )


def write_pack(deployment: Deployment, destination: Path) -> Path:
    """Write a folder that scores on another machine, without a registry, and read it back to be sure.

    Args:
        deployment: what to pack.
        destination: a new (or empty) folder.

    Returns:
        `destination`.

    Raises:
        StorageError: something is at `destination`, or the disk is full or read-only. Nothing is left behind.
        BundleError: a file changed since it was checked.
    """
    with new_folder(destination) as partial:
        (partial / BUNDLE_FOLDER).mkdir()
        deployment.bundle.copy_to(partial / BUNDLE_FOLDER)
        backbones = ((BACKBONE_FOLDER, deployment.backbone), (FIRST_BACKBONE_FOLDER, deployment.first_backbone))
        for name, backbone in backbones:
            if backbone is not None:
                (partial / name).mkdir()
                copy_backbone(backbone, partial / name)
        open_packed(partial)
    return destination


def open_packed(folder: Path) -> Deployment:
    """Read a pack and check every byte of it.

    Raises:
        BundleError: it is no pack, or damaged.
        StorageError: it cannot be read.
    """
    if not (folder / BUNDLE_FOLDER).is_dir() or not (folder / BACKBONE_FOLDER).is_dir():
        raise BundleError(
            f"an exported bundle (a folder with {BUNDLE_FOLDER}/ and {BACKBONE_FOLDER}/) at {folder}",
            "no such folder" if not folder.is_dir() else "a folder without them",
            "name the folder that `linewise export` wrote",
        )
    first = folder / FIRST_BACKBONE_FOLDER
    return Deployment(
        load_bundle(folder / BUNDLE_FOLDER),
        load_backbone_artefact(folder / BACKBONE_FOLDER),
        load_backbone_artefact(first) if first.is_dir() else None,
    )
