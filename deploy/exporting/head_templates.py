"""Which heads share a graph: a hash of everything about a head but the values of its tensors.

Two heads with the same key differ only in their `state_dict` values, so one exported template serves both. When in
doubt there is no key, and the head is exported anew; and every filled template is compared with its torch head before
it is used, so a key that claims too much costs an error, never a wrong score.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TEMPLATE_FORMAT = 2  # 2: the score covers the map
_VERSIONED = ("torch", "onnx", "onnxscript", "onnx-ir")
_TORCH_ATTRIBUTES = frozenset(vars(nn.Module())) - {"training"}
_BY_VERSION = (
    "torch",
    "torchvision",
    "timm",
    "builtins",
    "abc",
    "typing",
)  # packages whose sources their version stands for


class _NoKeyError(Exception):
    """An attribute whose value cannot be written down."""


def template_key(head: nn.Module, example_levels: Sequence[Tensor], opset: int) -> str | None:
    """32 hex digits, equal for heads of equal graph; None when the head holds something that cannot be compared.

    Args:
        head: the module to export.
        example_levels: (B, C, h, w) each; only C, h and w matter.
        opset: ONNX operator set.
    """
    try:
        modules = {
            name: [f"{type(module).__module__}.{type(module).__qualname__}", _attributes(module)]
            for name, module in head.named_modules(remove_duplicate=False)
        }
    except _NoKeyError:
        return None
    tensors = head_tensors(head)
    structure = {
        "format": TEMPLATE_FORMAT,
        "opset": opset,
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED if _installed(name)},
        "levels": [list(level.shape[1:]) for level in example_levels],
        "modules": modules,
        "tensors": {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()},
        "shared": _shared(tensors),
        "sources": sorted({_sources_sha256(kind) for module in head.modules() for kind in type(module).__mro__} - {""}),
    }
    return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()[:32]


def head_tensors(head: nn.Module) -> dict[str, Tensor]:
    """Every tensor a head owns, under the name the exporter gives it.

    More than `state_dict`: buffers that are not persistent and plain tensor attributes are just as much a line's own.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in head.named_modules(remove_duplicate=False):
        owned = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ]
        owned += [(name, value) for name, value in vars(module).items() if isinstance(value, Tensor)]
        tensors |= {f"{prefix}.{name}" if prefix else name: value for name, value in owned}
    return tensors


def _attributes(module: nn.Module) -> dict[str, Any]:
    named = vars(module).items()
    return {
        name: _plain(value) for name, value in named if name not in _TORCH_ATTRIBUTES and not isinstance(value, Tensor)
    }


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one return a kind of value reads best
    """A JSON-ready value that is equal only for equal values."""
    if value is None or isinstance(value, bool | int | str):
        return [type(value).__name__, value if not isinstance(value, Enum) else repr(value)]
    if isinstance(value, float | complex | bytes | torch.dtype | torch.device | torch.Size | slice | Path | range):
        return [type(value).__name__, repr(value)]
    if isinstance(value, Tensor | np.ndarray | np.generic):  # inside a container: a constant of the graph
        array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        return ["array", array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, Enum | type):
        return [type(value).__name__, f"{getattr(value, '__module__', '')}.{value}"]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_plain(item) for item in value]]
    if isinstance(value, dict):
        return [type(value).__name__, [[_plain(key), _plain(item)] for key, item in value.items()]]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, sorted(json.dumps(_plain(item)) for item in value)]
    if dataclasses.is_dataclass(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return [f"{type(value).__module__}.{type(value).__qualname__}", fields]
    if isinstance(value, BuiltinFunctionType) or (isinstance(value, FunctionType) and not value.__closure__):
        return ["function", f"{value.__module__}.{value.__qualname__}"]
    raise _NoKeyError(type(value).__name__)


def _shared(tensors: dict[str, Tensor]) -> list[list[str]]:
    """Names that are one and the same tensor: the exporter keeps only one of them."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            groups.setdefault((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()), []).append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def _sources_sha256(kind: type) -> str:
    """Hash of the sources of a class's whole package, helpers included; "" where a version stands for them."""
    top = kind.__module__.split(".")[0]
    if top in _BY_VERSION:
        return ""
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None)
    if file is None:
        return top
    sources = sorted(Path(file).parent.rglob("*.py")) if hasattr(module, "__path__") else [Path(file)]
    digest = hashlib.sha256(top.encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
