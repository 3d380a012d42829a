"""From a torch module to a tidy ONNX graph, and a graph's weights as something that can be filled in.

A head's graph depends on its structure, its tensors only on the line. So a head is exported with its tensors as extra
graph inputs (a *template*); filling turns those inputs into initializers. Nothing of one line can then be folded into
the structure, and the next head of the same structure needs no export. onnxruntime folds what the tensors make
constant when it loads the graph.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass
from torch import Tensor, nn

OPSET = 20
_export_lock = threading.Lock()  # the exporter patches torch while it runs, and `warnings` is one per process


class ExportedGraph(NamedTuple):
    """A graph, and whether it may serve other modules of the same structure: it holds no copy of an open tensor."""

    model: onnx.ModelProto
    reusable: bool


def export_graph(
    module: nn.Module,
    examples: Sequence[Tensor],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    open_tensors: Mapping[str, Tensor] | None = None,
) -> ExportedGraph:
    """Export `module` with a dynamic batch (the first axis of every input).

    Args:
        module: in evaluation mode; takes the examples as positional arguments.
        examples: one tensor an input, batch of at least 2 so that no size is mistaken for a constant 1.
        inputs: their names in the graph.
        outputs: likewise.
        open_tensors: the module's tensors to leave open as graph inputs, by name, which makes a template; all others
            are constants, folded where they can be (batch norm into convolutions, for one).
    """
    assert all(example.shape[0] >= 2 for example in examples), "a batch of 1 would be specialised"
    assert not module.training, "export what runs at the line"
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} for _ in examples)
    varargs = open_tensors is not None  # a head's forward is (*levels): one tuple of shapes for all of them
    with _export_lock, _out_of_place(module), warnings.catch_warnings():
        # all inputs share one batch dimension on purpose
        warnings.filterwarnings("ignore", message=".*The axis name: batch will not be used", category=UserWarning)
        program = torch.onnx.export(
            module,
            tuple(examples),
            dynamo=True,
            dynamic_shapes=(shapes,) if varargs else shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None, "the exporter gives a program when no file is asked for"
        reusable = not _holds_copy(program, open_tensors or {})
        _open(program.model.graph, open_tensors or {})
        program.optimize()
    _static_resize(program.model.graph)
    _static_fill(program.model.graph)
    _static_prefix(program.model.graph)
    RemoveUnusedNodesPass()(program.model)
    ClearMetadataAndDocStringPass()(program.model)  # it holds source paths of the machine that exported
    model = ir.to_proto(program.model)
    onnx.checker.check_model(model)
    return ExportedGraph(model, reusable)


def fill_template(
    template: onnx.ModelProto, tensors: Mapping[str, Tensor], *, inputs: Sequence[str]
) -> onnx.ModelProto:
    """Turn the open inputs of a template into initializers.

    Args:
        template: from `export_graph` with `open_tensors`; not changed.
        tensors: by name; those the graph does not use are left out.
        inputs: the inputs that stay inputs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    stay = [value for value in graph.input if value.name in inputs]
    for value in graph.input:
        if value.name in inputs:
            continue
        tensor = tensors[value.name].detach().cpu().contiguous().numpy()
        declared = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in declared.shape.dim)
        assert shape == tensor.shape, f"{value.name}: the template has {shape}, the head {tensor.shape}"
        assert declared.elem_type == onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), f"{value.name}: other dtype"
        graph.initializer.append(numpy_helper.from_array(tensor, value.name))
    del graph.input[:]
    graph.input.extend(stay)
    return model


@contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    """Activations that write in place write a copy for the time: with them the default backbone took 6.0 s to trace,
    without 4.4.
    """
    in_place: list[Any] = [child for child in module.modules() if getattr(child, "inplace", False) is True]
    for child in in_place:
        child.inplace = False
    try:
        yield
    finally:
        for child in in_place:
            child.inplace = True


def _holds_copy(program: torch.onnx.ONNXProgram, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a constant of the graph equals a tensor that should be open.

    A buffer that `forward` reaches under a second name is such a case: the exporter copies it as a constant.
    """
    exported = program.exported_program
    constants = dict(exported.constants) if exported is not None else {}
    unnamed = [value for name, value in constants.items() if name not in tensors and isinstance(value, Tensor)]
    return any(
        constant.dtype == tensor.dtype and torch.equal(constant.cpu(), tensor.cpu())
        for constant in unnamed
        for tensor in tensors.values()
    )


def _open(graph: ir.Graph, names: Collection[str]) -> None:
    """Make the module's tensors graph inputs, so that the optimiser cannot fold their values in."""
    for name in [name for name in graph.initializers if name in names]:
        value = graph.initializers.pop(name)
        value.const_value = None
        graph.inputs.append(value)


def _static_resize(graph: ir.Graph) -> None:
    """Give resizes of known grids a constant scale.

    The exporter computes their output size from the batch with shape operators, which an accelerator runs on the CPU:
    a needless stop, and an error in a session that forbids the CPU.
    """
    for node in list(graph):
        if node.op_type != "Resize" or len(node.inputs) < 4 or node.inputs[3] is None:
            continue
        source, result = node.inputs[0], node.outputs[0]
        if source is None or source.shape is None or result.shape is None:
            continue
        before, after = list(source.shape)[2:], list(result.shape)[2:]
        if not all(isinstance(size, int) for size in (*before, *after)):
            continue
        ratios = [float(np.float32(int(b) / int(a))) for a, b in zip(before, after, strict=True)]  # type: ignore[arg-type]
        if any(math.floor(int(a) * r) != int(b) for a, b, r in zip(before, after, ratios, strict=True)):  # type: ignore[arg-type]
            continue  # rounding would give another size
        name = f"{result.name}_scales"
        scales = ir.Value(name=name, const_value=ir.tensor(np.array([1, 1, *ratios], np.float32), name=name))
        graph.initializers[name] = scales
        node.replace_input_with(2, scales)
        node.replace_input_with(3, None)


def _static_fill(graph: ir.Graph) -> None:
    """Turn `full_like(x, c)`, which the exporter writes with the shape of x, into `0 * x + c`, for the same reason."""
    for node in list(graph):
        if node.op_type != "Expand":
            continue
        fill, like = node.inputs[0], node.inputs[1]
        shape_node = like.producer() if like is not None else None
        if fill is None or shape_node is None or shape_node.op_type != "Shape":
            continue
        if "end" in shape_node.attributes or shape_node.attributes.get_int("start", 0) != 0:  # a part of the shape
            continue
        x, value = shape_node.inputs[0], ir.convenience.get_const_tensor(fill)
        if x is None or value is None or value.size != 1 or value.dtype != ir.DataType.FLOAT or x.dtype != value.dtype:
            continue
        name = str(node.outputs[0].name)
        zero = ir.Value(name=f"{name}_zero", const_value=ir.tensor(np.float32(0), name=f"{name}_zero"))
        graph.initializers[f"{name}_zero"] = zero
        nothing = ir.node("Mul", [x, zero])
        filled = ir.node("Add", [nothing.outputs[0], fill])
        graph.insert_before(node, [nothing, filled])
        filled.outputs[0].shape, filled.outputs[0].dtype = node.outputs[0].shape, value.dtype
        ir.convenience.replace_all_uses_with(node.outputs[0], filled.outputs[0])
        graph.remove(node, safe=True)


def _static_prefix(graph: ir.Graph) -> None:
    """Put a transformer's class and register tokens before its patches without the batch's size, for the same reason.

    The exporter repeats each token (1, P, C) for the batch and concatenates: here the patches (B, N, C) are padded with
    zeros in front, and the tokens are added there.
    """
    for node in list(graph):
        if node.op_type != "Concat" or node.attributes.get_int("axis", 0) != 1 or len(node.inputs) < 2:
            continue
        *repeated, patches = node.inputs
        tokens = [_repeated_token(value) for value in repeated]
        if patches is None or patches.shape is None or len(patches.shape) != 3 or patches.dtype != ir.DataType.FLOAT:
            continue
        _, count, channels = patches.shape
        if not isinstance(count, int) or not isinstance(channels, int) or any(token is None for token in tokens):
            continue
        front = np.concatenate([token for token in tokens if token is not None], axis=1)
        added = np.concatenate([front, np.zeros((1, count, channels), np.float32)], axis=1)
        name = str(node.outputs[0].name)
        pads = np.array([0, front.shape[1], 0, 0, 0, 0], np.int64)
        constants = [
            ir.Value(name=f"{name}_{part}", const_value=ir.tensor(array, name=f"{name}_{part}"))
            for part, array in (("pads", pads), ("tokens", added))
        ]
        for constant in constants:
            graph.initializers[str(constant.name)] = constant
        padded = ir.node("Pad", [patches, constants[0]])
        joined = ir.node("Add", [padded.outputs[0], constants[1]])
        graph.insert_before(node, [padded, joined])
        joined.outputs[0].shape, joined.outputs[0].dtype = node.outputs[0].shape, patches.dtype
        ir.convenience.replace_all_uses_with(node.outputs[0], joined.outputs[0])
        graph.remove(node, safe=True)


def _repeated_token(value: ir.Value | None) -> np.ndarray | None:
    """The constant (1, P, C) that an Expand repeats for the batch; None for anything else."""
    node = value.producer() if value is not None else None
    if value is None or node is None or node.op_type != "Expand" or value.shape is None:
        return None
    constant = ir.convenience.get_const_tensor(node.inputs[0]) if node.inputs[0] is not None else None
    if constant is None or len(constant.shape) != 3 or list(constant.shape)[1:] != list(value.shape)[1:]:
        return None
    return constant.numpy() if constant.shape[0] == 1 else None
