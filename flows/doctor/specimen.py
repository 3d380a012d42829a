"""A backbone and a head made on the spot, with what torch says of them: needs the training libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from deploy.bundles.registry import Registry
from deploy.engine.extractor import OrtExtractor
from deploy.engine.limits import available_cpus
from deploy.engine.scores import HeadOutputs
from deploy.engine.trial import Specimen, generated_pair
from deploy.exporting.torch_to_onnx import export_backbone, export_head
from model_zoo.backbones.backbone import Backbone, build_backbone
from model_zoo.learners.memory_bank import MemoryBankConfig, MemoryBankLearner
from pipeline.episodes import SupportSet
from pipeline.errors import BundleError
from pipeline.features import DEFAULT_BACKBONE, BackboneArtefact, Levels
from pipeline.input_size import InputSize

_SIZE = 256
_BANK_ROWS = 256


def fresh_specimen(registry: Registry, scratch: Path) -> Specimen:
    """The default backbone (the registered export where it is intact) and a small memory bank of generated images.

    Args:
        registry: only read.
        scratch: a folder that stays while the specimen is used.

    Raises:
        ParityError: onnxruntime on the CPU computes something else than torch.
        ConfigError, StorageError: the backbone cannot be built, or `scratch` not written.
    """
    module = build_backbone(DEFAULT_BACKBONE, size=_SIZE)
    artefact, where = _artefact(module, registry, scratch)
    support, images = generated_pair(InputSize.of(_SIZE))
    levels = OrtExtractor(artefact, "cpu", threads=available_cpus()).extract(support)
    learner = MemoryBankLearner(module.spec, MemoryBankConfig(bank_budget=_BANK_ROWS))
    head = learner.adapt(_support_set(levels), seed=0)
    exported = export_head(head, [torch.from_numpy(level) for level in levels], scratch / "head.onnx")
    with torch.inference_mode():
        outputs = [head(*module(torch.from_numpy(images[i : i + 1]))) for i in range(len(images))]
    score, anomaly_map, nearest = (torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))
    return Specimen(
        backbone=artefact,
        head=exported.path,
        head_sha256=exported.sha256,
        origin=f"{where} {module.spec.name} with a memory bank of {_BANK_ROWS} rows a level",
        images=images,
        torch_scores=HeadOutputs(score, anomaly_map, nearest),
    )


def _artefact(module: Backbone, registry: Registry, scratch: Path) -> tuple[BackboneArtefact, str]:
    fingerprint = module.spec.fingerprint
    if fingerprint in registry.backbones():
        try:
            return registry.backbone(fingerprint), "the registered"
        except BundleError:
            pass  # the check of the registered backbones tells of it
    return export_backbone(module, module.spec, scratch / fingerprint), "a freshly exported"


def _support_set(levels: Levels) -> SupportSet:
    """A support of good images alone."""
    good = tuple(torch.from_numpy(np.ascontiguousarray(level)) for level in levels)
    none = tuple(level[:0] for level in good)
    masks = torch.zeros(0, *good[0].shape[-2:])
    return SupportSet(
        good=good,
        augmented=tuple(level[:, None][:, :0] for level in good),
        synthetic=none,
        synthetic_masks=masks,
        synthetic_parents=torch.zeros(0, dtype=torch.int64),
        defects=none,
        defect_masks=masks,
        has_mask=torch.zeros(0, dtype=torch.bool),
    )
