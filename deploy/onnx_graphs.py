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
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass
from torch import Tensor, nn

OPSET = 20
_export_lock = threading.Lock()  # the exporter patches torch while it runs, and `warnings` is one per process


def export_graph(
    module: nn.Module, examples: Sequence[Tensor], *, inputs: Sequence[str], outputs: Sequence[str], as_template: bool
) -> onnx.ModelProto:
    """Export `module` with a dynamic batch (the first axis of every input).

    Args:
        module: in evaluation mode; takes the examples as positional arguments.
        examples: one tensor an input, batch of at least 2 so that no size is mistaken for a constant 1.
        inputs: their names in the graph.
        outputs: likewise.
        as_template: leave the module's tensors open as graph inputs under their `state_dict` names, instead of
            folding them (batch norm into convolutions, for one).
    """
    assert all(example.shape[0] >= 2 for example in examples), "a batch of 1 would be specialised"
    assert not module.training, "export what runs at the line"
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} for _ in examples)
    varargs = len(examples) > 1 or as_template  # a head's forward is (*levels): one tuple of shapes for all of them
    with _export_lock, warnings.catch_warnings():
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
        if as_template:
            _open_state(program.model.graph, set(module.state_dict()))
        program.optimize()
    _static_resize(program.model.graph)
    RemoveUnusedNodesPass()(program.model)
    ClearMetadataAndDocStringPass()(program.model)  # it holds source paths of the machine that exported
    model = ir.to_proto(program.model)
    onnx.checker.check_model(model)
    return model


def fill_template(template: onnx.ModelProto, state: Mapping[str, Tensor], *, inputs: Sequence[str]) -> onnx.ModelProto:
    """Turn the open inputs of a template into initializers.

    Args:
        template: from `export_graph(as_template=True)`; not changed.
        state: a `state_dict`; names the graph does not use are left out.
        inputs: the inputs that stay inputs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    stay = [value for value in graph.input if value.name in inputs]
    for value in graph.input:
        if value.name in inputs:
            continue
        tensor = state[value.name].detach().cpu().contiguous().numpy()
        declared = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in declared.shape.dim)
        assert shape == tensor.shape, f"{value.name}: the template has {shape}, the head {tensor.shape}"
        assert declared.elem_type == onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), f"{value.name}: other dtype"
        graph.initializer.append(numpy_helper.from_array(tensor, value.name))
    del graph.input[:]
    graph.input.extend(stay)
    return model


def _open_state(graph: ir.Graph, names: set[str]) -> None:
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
