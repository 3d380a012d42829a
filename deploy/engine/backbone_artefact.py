"""Reading an exported backbone: nothing is parsed before its hash was checked. Torch-free."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipeline.errors import BundleError
from pipeline.features import BackboneArtefact, BackboneSpec

BACKBONE_FORMAT = 1
_MAX_JSON_BYTES = 4 * 1024 * 1024
_MAX_GRAPH_BYTES = 2**31 - 1  # protobuf's own limit


def load_backbone_artefact(folder: Path) -> BackboneArtefact:
    """A backbone written by `deploy.exporting.torch_to_onnx.export_backbone`, its graph checked against its sha256.

    Raises:
        BundleError: missing, of another format version, or changed since it was written.
    """
    manifest = folder / "backbone.json"
    remedy = "export the backbone again"
    try:
        with manifest.open("rb") as file:
            data = json.loads(file.read(_MAX_JSON_BYTES).decode())  # what is longer is cut off, and so no JSON
        version = data["format_version"]
        if version != BACKBONE_FORMAT:
            raise BundleError(
                expected=f"backbone format {BACKBONE_FORMAT}", got=f"{version!r} in {manifest}", remedy=remedy
            )
        artefact = BackboneArtefact(folder, BackboneSpec.from_json(data["spec"]), str(data["onnx_sha256"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            expected=f"a readable {manifest}", got=f"{type(error).__name__} ({error})", remedy=remedy
        ) from error
    read_checked(artefact.onnx_path, artefact.onnx_sha256, remedy)
    return artefact


def read_checked(path: Path, sha256: str | None, remedy: str) -> bytes:
    """The file's bytes, hashed before anything parses them.

    Args:
        path: the file.
        sha256: what it must hash to; None checks nothing.
        remedy: what the error says to do.

    Raises:
        BundleError: unreadable, or another hash.
    """
    try:
        if path.stat().st_size > _MAX_GRAPH_BYTES:
            raise BundleError(f"at most {_MAX_GRAPH_BYTES:,} bytes in {path}", "more", remedy)
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(expected=f"a readable {path}", got=error.strerror or "an error", remedy=remedy) from error
    if sha256 is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise BundleError(expected=f"{path.name} with sha256 {sha256[:16]}…", got=f"{actual[:16]}…", remedy=remedy)
    return content
