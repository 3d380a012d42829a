"""The backbone of a job: torch module, exported graph in the registry, and an extractor that runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from deploy.bundles.registry import Registry
from deploy.engine.extractor import OrtExtractor
from deploy.engine.limits import available_cpus
from deploy.exporting.torch_to_onnx import export_backbone
from flows.own_weights import own_weights
from model_zoo.backbones.backbone import Backbone, build_backbone
from model_zoo.backbones.fused_backbone import FusedBackbone, build_fused
from pipeline.feature_store import FeatureStore
from pipeline.features import FUSED, BackboneArtefact, BackboneSpec
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import PreprocessSpec
from pipeline.input_size import InputSize
from pipeline.process_tuning import tune_process
from pipeline.settings import Settings

_TIMED_RUNS = 5


@dataclass(frozen=True)
class OpenBackbone:
    """A backbone ready for support, meta-training and export.

    Features always come from the exported graph through onnxruntime, as on the line; the torch module is what the
    export is checked against.
    """

    module: Backbone | FusedBackbone
    artefact: BackboneArtefact
    extractor: OrtExtractor

    @property
    def spec(self) -> BackboneSpec:
        """What it computes."""
        return self.artefact.spec

    def preprocess(self, white_level: int | None = None, bayer: BayerPattern | None = None) -> PreprocessSpec:
        """How images are brought to its input."""
        return PreprocessSpec(height=self.spec.height, width=self.spec.width, white_level=white_level, bayer=bayer)

    def milliseconds(self) -> float:
        """What the features of one image take on this machine's CPU, the median of some runs."""
        image = np.zeros((1, self.spec.height, self.spec.width, 3), np.uint8)
        taken: list[float] = []
        for _ in range(1 + _TIMED_RUNS):  # the first one warms up
            start = time.perf_counter()
            self.extractor.extract(image)
            taken.append(1000 * (time.perf_counter() - start))
        return median(taken[1:])

    def cached(self, settings: Settings) -> FeatureStore:
        """Its features through the cache on disk."""
        return FeatureStore(settings.features, self.extractor, memory_bytes=1024**3)


def open_backbone(name: str, size: int | InputSize, settings: Settings) -> OpenBackbone:
    """Build a backbone, export it into the registry where it is not there yet, and open it.

    Its weights are `weights/<name>.safetensors` or `.pth` in the home; where there is no such file, those of its
    installed package. A name like `a+b` is both networks as one, see `fused_backbone`.

    Raises:
        ConfigError: unknown backbone, unusable size, missing or unfitting weights.
        StorageError: the home folder cannot be written, or the weights file not read.
    """
    tune_process()
    settings.ensure_home()
    module = (
        build_fused(name, size=size, weights_of=lambda part: own_weights(part, settings))
        if FUSED in name
        else build_backbone(name, size=size, weights=own_weights(name, settings))
    )
    registry, fingerprint = Registry(settings.home), module.spec.fingerprint
    folder = registry.backbone_folder(fingerprint)
    if settings.template_cache is not None and not folder.exists():  # another home may have exported it
        registry.add_backbone(export_backbone(module, module.spec, settings.template_cache / f"backbone-{fingerprint}"))
    artefact = export_backbone(module, module.spec, folder)
    return OpenBackbone(module, artefact, OrtExtractor(artefact, "cpu", threads=available_cpus()))
