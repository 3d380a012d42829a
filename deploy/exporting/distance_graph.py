"""A head's graph also says how far an image lies from the line's support, see `pipeline.support_distance`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from deploy.engine.scores import SUPPORT_DISTANCE

_PREFIX = "support_distance_"


def with_distance(content: bytes, levels: Sequence[Tensor], references: Sequence[Tensor]) -> bytes:
    """A head's graph with the output `SUPPORT_DISTANCE` (B,): to the nearest reference.

    Args:
        content: the graph, whose inputs `level_0` ... are feature levels (B, C, h, w).
        levels: examples of all levels; one that the head does not look at becomes an input.
        references: pooled features of the support (R, C) a level.
    """
    model = onnx.load_model_from_string(content)
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    known = {value.name for value in graph.input}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, _PREFIX + name))
        return _PREFIX + name

    def node(kind: str, inputs: Sequence[str], output: str, keepdims: int | None = None) -> str:
        added = helper.make_node(kind, list(inputs), [output])
        if keepdims is not None:
            added.attribute.append(helper.make_attribute("keepdims", keepdims))
        nodes.append(added)
        return output

    plane, channels = constant("plane", np.array([2, 3], np.int64)), constant("channels", np.array([1], np.int64))
    least, two, none = (constant(f"scalar_{value}", np.array(value, np.float32)) for value in (1e-12, 2.0, 0.0))
    cosines = []
    for index, (level, reference) in enumerate(zip(levels, references, strict=True)):
        name = f"level_{index}"
        if name not in known:
            shape = [batch, *level.shape[1:]]
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        mean = node("ReduceMean", [name, plane], f"{_PREFIX}mean_{index}", keepdims=0)
        length = node("ReduceL2", [mean, channels], f"{_PREFIX}length_{index}", keepdims=1)
        unit = node("Div", [mean, node("Max", [length, least], f"{_PREFIX}divisor_{index}")], f"{_PREFIX}unit_{index}")
        weights = constant(f"references_{index}", np.ascontiguousarray(reference.T.numpy() / len(levels), np.float32))
        cosines.append(node("MatMul", [unit, weights], f"{_PREFIX}cosine_{index}"))
    cosine = node("ReduceMax", [node("Sum", cosines, f"{_PREFIX}sum"), channels], f"{_PREFIX}nearest", keepdims=0)
    double = node("Mul", [cosine, two], f"{_PREFIX}double")
    square = node("Max", [node("Sub", [two, double], f"{_PREFIX}difference"), none], f"{_PREFIX}square")
    node("Sqrt", [square], SUPPORT_DISTANCE)
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(SUPPORT_DISTANCE, TensorProto.FLOAT, [batch]))
    onnx.checker.check_model(model)
    return model.SerializeToString()
