"""A graph's file made smaller, its results the same: equal constants once, names by number, shapes left to the reader.

torch's exporter writes a constant for every use and names a value by the path of its module; onnxruntime's quantizer
writes scales and biases anew for every step of a flow.
"""

from pathlib import Path

import onnx
import onnx_ir
from onnx_ir.passes import Sequential, common


def shrink(path: Path) -> None:
    """Rewrite an ONNX file; what it is given and gives keeps its names."""
    once = Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.TopologicalSortPass(),
    )
    model = once(onnx_ir.load(path)).model
    _number(model.graph)
    smaller = onnx_ir.to_proto(model)
    del smaller.graph.value_info[:]
    onnx.save(smaller, path)


def _number(graph: onnx_ir.Graph) -> None:
    named = {id(value) for value in (*graph.inputs, *graph.outputs)}
    for i, weights in enumerate(list(graph.initializers.values())):
        weights.name = f"w{i}"
    made = 0
    for i, node in enumerate(graph):
        node.name = f"n{i}"
        for value in node.outputs:
            if id(value) not in named:
                value.name, made = f"v{made}", made + 1
