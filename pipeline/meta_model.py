"""The meta-model on disk: what meta-training hands to adaptation. safetensors and JSON; no pickle.

meta.json             learner, settings, backbone, source lines, losses, pooled calibration, sha256 of the weights
weights.safetensors   the meta-parameters (absent for learners without any)
card.md               the same for people
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pipeline.calibration import PooledCalibration
from pipeline.errors import BundleError
from pipeline.features import BackboneSpec
from pipeline.storage import replacing_folder, write_durably

FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class MetaModel:
    """A meta-trained learner.

    Args:
        identifier: name and content hash, e.g. "in_context-1a2b3c4d5e6f".
        learner: its name. seed: of meta-training. good: support size K it was calibrated for.
        outer_steps, pooled_steps: lengths of the outer loop and of its pooled part.
        spec: of the backbone. lines: source lines. calibration: pooled over them. final_loss: mean of the last steps.
        weights: meta-parameters by name, on the CPU; empty for learners without any.
        trained_on: device and processes of the outer loop, in words; before there was a choice, the CPU.
        early_stopping: where the outer loop stopped and what was kept, in words; None: it took all of its steps.
    """

    identifier: str
    learner: str
    seed: int
    good: int
    outer_steps: int
    pooled_steps: int
    spec: BackboneSpec
    lines: tuple[str, ...]
    calibration: PooledCalibration | None
    final_loss: float | None
    weights: dict[str, Tensor]
    trained_on: str = "cpu"
    early_stopping: str | None = None


class _Scalars(BaseModel):
    """The fields of `meta.json` that say what they are by their type alone."""

    model_config = ConfigDict(extra="forbid", strict=True)

    identifier: str
    learner: str
    seed: int
    good: int
    outer_steps: int
    pooled_steps: int
    lines: Annotated[tuple[str, ...], Field(strict=False)]  # a list, in JSON
    final_loss: float | None
    trained_on: str = "cpu"
    early_stopping: str | None = None


def save_meta_model(model: MetaModel, folder: Path) -> None:
    """Write the folder whole; an older meta-model there is replaced in one step.

    Raises:
        StorageError: the folder cannot be written.
    """
    weights = save_tensors({name: value.contiguous() for name, value in model.weights.items()})
    fields: dict[str, Any] = {k: v for k, v in asdict(model).items() if k not in {"weights", "spec", "calibration"}}
    with replacing_folder(folder) as partial:
        fields |= {
            "format_version": FORMAT_VERSION,
            "spec": model.spec.to_json(),
            "calibration": model.calibration.to_json() if model.calibration else None,
            "weights_sha256": write_durably(partial / "weights.safetensors", weights),
        }
        write_durably(partial / "meta.json", (json.dumps(fields, indent=2) + "\n").encode())
        write_durably(partial / "card.md", _card(model).encode())


def load_meta_model(folder: Path) -> MetaModel:
    """Read and verify a meta-model.

    Raises:
        BundleError: not a meta-model, damaged, or of another format version.
    """
    remedy = "name the folder that `linewise meta-train` printed, or meta-train again"
    try:
        fields = json.loads((folder / "meta.json").read_text())
        data = (folder / "weights.safetensors").read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"a meta-model in {folder}", _reason(error), remedy) from error
    version = fields.pop("format_version", None) if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"a meta-model of format {FORMAT_VERSION}", f"format {version}", "meta-train with this version"
        )
    if hashlib.sha256(data).hexdigest() != fields.pop("weights_sha256", None):
        raise BundleError(f"the weights that {folder / 'meta.json'} names", "a file with another sha256", remedy)
    try:
        calibration = fields.pop("calibration")
        spec = BackboneSpec.from_json(fields.pop("spec"))
        return MetaModel(
            **_Scalars.model_validate(fields).model_dump(),
            spec=spec,
            calibration=PooledCalibration.from_json(calibration) if calibration else None,
            weights=load_tensors(data),
        )
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise BundleError(f"a complete meta-model in {folder}", _reason(error), remedy) from error


def content_identifier(learner: str, weights: dict[str, Tensor], calibration: PooledCalibration | None) -> str:
    """A name that changes with the content."""
    digest = hashlib.sha256(learner.encode())
    digest.update(save_tensors({name: value.contiguous() for name, value in sorted(weights.items())}))
    digest.update(json.dumps(calibration.to_json() if calibration else None).encode())
    return f"{learner}-{digest.hexdigest()[:12]}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


def _card(model: MetaModel) -> str:
    parameters = sum(value.numel() for value in model.weights.values())
    rows = [
        ("learner", model.learner),
        ("backbone", f"{model.spec.name} ({model.spec.fingerprint})"),
        ("backbone weights", f"{model.spec.weights_source}, {model.spec.weights_licence}"),
        ("meta-parameters", f"{parameters:,}"),
        ("outer steps", f"{model.outer_steps} (of them pooled: {model.pooled_steps}), seed {model.seed}"),
        *([("early stopping", model.early_stopping)] if model.early_stopping else []),
        ("trained on", model.trained_on),
        ("final loss", "none" if model.final_loss is None else f"{model.final_loss:.4f}"),
        (
            "calibrated for",
            f"{model.good} good images" if model.calibration else "nothing, thresholds are a line's own",
        ),
        ("source lines", f"{len(model.lines)}: {', '.join(model.lines)}"),
    ]
    body = "\n".join(f"- **{name}**: {value}" for name, value in rows)
    limits = (
        "Learned from the lines above and from nothing else. On a product unlike all of them, trust the report of "
        "`linewise evaluate` on images of your own before you trust this card."
    )
    return f"# {model.identifier}\n\n{body}\n\n{limits}\n"
