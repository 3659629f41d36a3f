"""An exported graph whose weights are stored in 16 bits and computed with in 32.

Processors have hardly an operator of 16 bits: a graph that computes in them is converted to and fro, and slower.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from policies.export.graph import about, describe

LARGEST = float(np.finfo(np.float16).max)  # weights beyond stay as they are


def write_half(source: Path, target: Path) -> None:
    """Store float32 weights as float16, which onnxruntime makes float32 of once, when it opens the file."""
    model = onnx.load(source)
    made = [_halved(one) for one in model.graph.initializer if _fits(one)]
    nodes = [*made, *model.graph.node]  # in the order of computation
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)
    describe(target, about(source))


def _fits(weights: onnx.TensorProto) -> bool:
    """Return whether these are float32 weights, no single numbers, that float16 can hold."""
    if weights.data_type != onnx.TensorProto.FLOAT or not weights.dims:
        return False
    return bool(np.abs(numpy_helper.to_array(weights)).max(initial=0.0) <= LARGEST)


def _halved(weights: onnx.TensorProto) -> onnx.NodeProto:
    """Make the weights float16; return the node that gives them in float32 under their name."""
    name = weights.name
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float16), f"{name}.half"))
    return onnx.helper.make_node("Cast", [weights.name], [name], to=onnx.TensorProto.FLOAT)
