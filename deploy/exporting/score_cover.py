"""A head's graph whose score is not finite as soon as one cell of its map is not: nobody has to look at the map.

The largest cells make the score, so a nan elsewhere, or a cell of minus infinity, would go unseen. Torch's heads do
without: they only ever see what is compared with this graph, where a value that is not finite fails anyway.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploy.engine.scores import SCORE_COVERS_MAP

_PREFIX = "score_cover_"


def cover_map(model: onnx.ModelProto) -> None:
    """Add to the score the sum over the map (B, H, W) of what is beyond float32's finite range, and say so.

    x - clip(x) is 0 for every finite x, which leaves a score bit-equal; nan for nan, and infinity for infinity, so that
    an infinite score stays one. x * 0 would do for nan, and make an infinite score one, too.

    Args:
        model: a head's graph with `HEAD_OUTPUTS`; changed in place.
    """
    graph = model.graph
    names = {part: _PREFIX + part for part in ("score", "low", "high", "axes", "clip", "rest", "sum")}
    for node in graph.node:
        node.output[:] = [names["score"] if name == "image_score" else name for name in node.output]
        node.input[:] = [names["score"] if name == "image_score" else name for name in node.input]
    limit = np.finfo(np.float32).max
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(-limit), names["low"]),
            numpy_helper.from_array(np.array(limit), names["high"]),
            numpy_helper.from_array(np.array([1, 2], np.int64), names["axes"]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Clip", ["anomaly_map", names["low"], names["high"]], [names["clip"]]),
            helper.make_node("Sub", ["anomaly_map", names["clip"]], [names["rest"]]),
            helper.make_node("ReduceSum", [names["rest"], names["axes"]], [names["sum"]], keepdims=0),
            helper.make_node("Add", [names["score"], names["sum"]], ["image_score"]),
        ]
    )
    helper.set_model_props(model, {SCORE_COVERS_MAP: "1"})
    onnx.checker.check_model(model)
