"""A head's graph also says how far an image lies from the line's support, see `pipeline.support_distance`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from deploy.engine.scores import SUPPORT_DISTANCE

_PREFIX = "support_distance_"


def with_distance(content: bytes, levels: Sequence[Tensor], directions: Sequence[Tensor]) -> bytes:
    """A head's graph with the output `SUPPORT_DISTANCE` (B,).

    Args:
        content: the graph, whose inputs `level_0` ... are feature levels (B, C, h, w).
        levels: examples of all levels; one that the head does not look at becomes an input.
        directions: of the support (C, R) a level.
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
    least, one, none = (constant(f"scalar_{value}", np.array(value, np.float32)) for value in (1e-12, 1.0, 0.0))
    shares: list[str] = []
    for index, (level, axes) in enumerate(zip(levels, directions, strict=True)):
        name = f"level_{index}"
        if name not in known:
            shape = [batch, *level.shape[1:]]
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        mean = node("ReduceMean", [name, plane], f"{_PREFIX}mean_{index}", keepdims=0)
        length = node("ReduceL2", [mean, channels], f"{_PREFIX}length_{index}", keepdims=1)
        unit = node("Div", [mean, node("Max", [length, least], f"{_PREFIX}divisor_{index}")], f"{_PREFIX}unit_{index}")
        weights = constant(f"directions_{index}", np.ascontiguousarray(axes.numpy(), np.float32))
        along = node("MatMul", [unit, weights], f"{_PREFIX}along_{index}")
        shares.append(node("ReduceSumSquare", [along, channels], f"{_PREFIX}share_{index}", keepdims=0))
    left = node("Sub", [one, node("Mean", shares, f"{_PREFIX}shares")], f"{_PREFIX}left")
    node("Sqrt", [node("Max", [left, none], f"{_PREFIX}square")], SUPPORT_DISTANCE)
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(SUPPORT_DISTANCE, TensorProto.FLOAT, [batch]))
    onnx.checker.check_model(model)
    return model.SerializeToString()
