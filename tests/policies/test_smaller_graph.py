"""A graph's file made smaller computes the same and is called the same."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from policies.export.smaller import shrink

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def outputs(path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["given"], {"taken": X})[0]


def test_equal_constants_are_kept_once_and_results_are_the_same(tmp_path):
    path, weights = tmp_path / "graph.onnx", np.arange(900, dtype=np.float32).reshape(3, 300)
    nodes, last = [], "taken"
    for i in range(4):  # the same map four times, each with weights and a constant of its own, as of a flow's steps
        half = f"a.long.path.of.a.module.{i}/half"
        constant = numpy_helper.from_array(np.array(0.001, np.float32))
        nodes += [
            helper.make_node("Constant", [], [half], value=constant),
            helper.make_node("MatMul", [last, f"weights_{i}"], [f"a.long.path.of.a.module.{i}/wide"]),
            helper.make_node("MatMul", [f"a.long.path.of.a.module.{i}/wide", f"back_{i}"], [f"narrow{i}"]),
            helper.make_node("Mul", [f"narrow{i}", half], ["given" if i == 3 else f"scaled{i}"]),
        ]
        last = f"scaled{i}"
    wide = [numpy_helper.from_array(weights, f"weights_{i}") for i in range(4)]
    back = [numpy_helper.from_array(weights.T / 900, f"back_{i}") for i in range(4)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("taken", "given")]
    graph = helper.make_graph(nodes, "four", ends[:1], ends[1:], [*wide, *back])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), path)
    before, size = outputs(path), path.stat().st_size
    shrink(path)
    assert np.array_equal(outputs(path), before) and np.abs(before).max() > 1
    kept = [numpy_helper.to_array(one).size for one in onnx.load(path).graph.initializer]
    assert sorted(kept) == [1, 900, 900]
    assert path.stat().st_size < 0.3 * size


def nodes_half(i: int) -> str:
    return f"a.long.path.of.a.module.{i}/half"
