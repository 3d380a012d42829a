"""How much memory a version takes while it scores, measured in a process of its own. Torch-free.

The graphs' files say too little: what is computed with grows with the model's input, and onnxruntime holds weights in
another layout than the file. In the process that compares, freed memory is taken again, so nothing can be told there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.bundles.packs import Deployment

_SECONDS = 120.0
_STATUS = Path("/proc/self/status")


def resident_bytes(deployments: Sequence[Deployment]) -> list[int | None]:
    """How much each takes in memory on a CPU, from its opening to one image's score; all are measured at once.

    None where it cannot be told: no Linux, or the process ended early.
    """
    children = [
        subprocess.Popen(  # noqa: S603  # our own arguments
            [sys.executable, "-P", "-m", __name__, str(deployment.bundle.path), str(deployment.backbone.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for deployment in deployments
    ]
    return [_said(child) for child in children]


def _said(child: subprocess.Popen[bytes]) -> int | None:
    try:
        said, _ = child.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
    return int(said) if child.returncode == 0 else None


def _measure(bundle_folder: Path, backbone_folder: Path) -> int:
    """In the child: the highest that its memory came to, less what it had with all imports done."""
    import numpy as np  # noqa: PLC0415  # the parent needs none of these

    from deploy.bundles.bundle import load_bundle  # noqa: PLC0415
    from deploy.engine.backbone_artefact import load_backbone_artefact  # noqa: PLC0415
    from deploy.engine.runtime import ScoringEngine  # noqa: PLC0415

    bundle, backbone = load_bundle(bundle_folder), load_backbone_artefact(backbone_folder)
    before = _kib("VmRSS")
    engine = ScoringEngine(backbone, "cpu", threads=1)
    engine.add_head(bundle.id, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
    seen = bundle.manifest.preprocess
    engine.score(bundle.id, np.zeros((1, seen.height, seen.width, 3), np.uint8)).outputs()
    return 1024 * (_kib("VmHWM") - before)


def _kib(name: str) -> int:
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


if __name__ == "__main__":
    print(_measure(Path(sys.argv[1]), Path(sys.argv[2])))  # noqa: T201  # the parent reads it
