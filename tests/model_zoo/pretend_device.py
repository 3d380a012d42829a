"""A second device that every machine has: its tensors hold real numbers, and mixing them with the CPU's is an error.

A GPU refuses an operation on tensors of two devices; so does this one, and it computes all else with the CPU's kernels.
A module that forgets to say where a tensor belongs fails here as it would on a GPU, also behind branches that depend on
values, and one that forgets nothing gives the CPU's numbers. (torch's own FakeTensorMode knows CUDA tensors without a
GPU, but they hold no values, and their backward pass wants a driver.)

torch has no name for such a device: it answers to "meta", the one beside the CPU that autograd needs no driver for.
What this cannot show is what a GPU's own kernels do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

PRETEND = torch.device("meta")
_MOVES = {"aten::_to_copy", "aten::copy_"}  # what may see both devices


class MixedDevicesError(RuntimeError):
    """An operation got tensors of both devices, or the CPU's generator for a tensor elsewhere."""


class _Elsewhere(Tensor):
    """A tensor that says it is on the pretended device; `held` is a CPU tensor with its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Elsewhere:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=PRETEND
        )
        wrapper.held = held
        return wrapper

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"_Elsewhere({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, _args: Sequence[Any] = (), _kwargs: Any = None) -> Any:
        raise MixedDevicesError(f"{func}: the pretended device is off")


class PretendDevice(TorchDispatchMode):
    """While this is on, "meta" is a device that computes."""

    def __enter__(self) -> PretendDevice:
        # `module.to` keeps its parameters, as it does between a CPU and a GPU, so that an optimiser still knows them
        self._swapped = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        torch.__future__.set_swap_module_params_on_conversion(self._swapped)
        super().__exit__(*raised)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        elsewhere = [isinstance(leaf, _Elsewhere) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(elsewhere) and not all(elsewhere) and func._schema.name not in _MOVES:
            raise MixedDevicesError(f"{func}: tensors of two devices")
        wanted = kwargs.get("device")
        lands_elsewhere = any(elsewhere) if wanted is None else torch.device(wanted) == PRETEND
        if lands_elsewhere and kwargs.get("generator") is not None:
            raise MixedDevicesError(f"{func}: a generator of the CPU for a tensor elsewhere")
        if wanted is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        made = func(*_held(args), **_held(kwargs))
        if torch.Tag.inplace_view in func.tags and lands_elsewhere:  # such as squeeze_: the outer shape follows
            with no_dispatch():
                return func(*args, **kwargs)
        if func._schema.is_mutable:  # the tensor that was changed is the caller's own
            return None if made is None else kwargs.get("out", args[0])
        return tree_map_only(Tensor, _Elsewhere, made) if lands_elsewhere else made


def _held(values: Any) -> Any:
    return tree_map_only(_Elsewhere, lambda tensor: tensor.held, values)
