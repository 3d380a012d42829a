"""The meta-models that ship with Linewise: meta-trained on generated lines alone, so that they may be passed on.

`python -m benchmarks.default_meta_model train` made them; each folder's card says how well they do on real lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import BundleError
from pipeline.meta_model import MetaModel, load_meta_model

FOLDER = Path(__file__).parent / "meta_models"
SHIPPED: Mapping[str, str] = {
    "in_context": "782dd322583bffee2ed40077ff987a653641fb1bf8d0a8db444fe832472df4a2",
    "shared_direction": "8809722c3833c2234351b17e61675dbea4b8d3962310efedf568dd3cc6d75409",
}
"""Learners that have one, and the sha256 of its `meta.json`, which holds that of its weights."""


def shipped_meta_model(learner: str) -> MetaModel | None:
    """A learner's meta-model, verified; None where none ships.

    Raises:
        BundleError: a file is missing, or is not the one that was shipped.
    """
    if learner not in SHIPPED:
        return None
    path = FOLDER / learner / "meta.json"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != SHIPPED[learner]:
        raise BundleError(
            f"the meta-model of {learner} that ships with Linewise", f"{found[:16]} at {path}", "install Linewise anew"
        )
    return load_meta_model(path.parent)
