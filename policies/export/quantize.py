"""An exported graph in eight-bit integers: weights alone (dynamic), or weights and what flows between layers (static).

What has weights is quantized: linear maps, and in a static graph convolutions with what joins their maps, but for the
last of a trunk. Geometry, attention and all else stay as they were.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

from policies.export.graph import ExportedPolicy, about, describe, largest_difference, write_graph
from policies.export.half import write_half
from policies.export.smaller import shrink
from policies.pretrained.weights import atomic_file
from policies.processing.data import dataset_spec
from policies.processing.resize import resize
from policies.runtime.decider import Decider
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.dataset.reader import Dataset

EPISODES, EVERY = 16, 8  # of a dataset that ranges come from: episodes, and one frame of so many
LINEAR, CONVOLUTION, BETWEEN = {"Gemm", "MatMul"}, {"Conv"}, {"Add", "Relu", "Resize"}
Feeds = Mapping[str, np.ndarray]  # what a graph takes, by name


def write_quantized(decider: Decider, target: Path, kind: str, data: str | None) -> float:
    """Export a policy as one quantized ONNX file; return the largest difference to torch on coloured patches, rad.

    kind: float16, dynamic or static; data: dataset whose frames give the ranges of a static graph. UserError as
    `write_graph`, and for a dataset of another robot or without the policy's cameras.
    """
    dataset = None if data is None else _ranges_from(data, decider)  # before the export, which takes a while
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, atomic_file(target) as part, _quiet():
        source = Path(folder) / "policy.onnx"
        write_graph(decider, source)
        if dataset:
            write_static(source, part, _looks_of(dataset, decider, ExportedPolicy(decider, source)))
        else:
            {"float16": write_half, "dynamic": write_dynamic}[kind](source, part)
        return largest_difference(decider, part)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out onnxruntime's advice, at every call, to let it optimize the graph first: torch's exporter has; and
    numpy's warning where a map is zero in every look, whose range is empty."""
    logging.disable(logging.WARNING)
    try:
        with np.errstate(invalid="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _ranges_from(data: str, decider: Decider) -> Dataset:
    """Return the dataset, or UserError: missing, broken, of another robot."""
    dataset = Dataset(data)
    if (robot := dataset_spec(dataset).robot) != decider.spec.robot:
        raise UserError(f"data={dataset.root} is of robot {robot}, the policy of {decider.spec.robot}")
    return dataset


def _looks_of(dataset: Dataset, decider: Decider, exported: ExportedPolicy) -> Iterator[Feeds]:
    spec, cameras, generator = decider.spec, decider.processor.cameras, torch.Generator().manual_seed(0)
    count = dataset.num_episodes
    for episode in dict.fromkeys(np.linspace(0, count - 1, min(EPISODES, count)).astype(int).tolist()):
        state = dataset.columns(episode, ["observation.state"])["observation.state"]
        frames = range(0, len(state), EVERY)
        images = {camera: resize(dataset.images(episode, camera, frames), spec.image_size) for camera in cameras}
        for i, frame in enumerate(frames):
            shown = {camera: np.array(images[camera][i]) for camera in cameras}
            look = Observation(shown, state[frame], dataset.instruction(episode), 0.0)
            yield exported.feeds(look, look.state, exported.draw(generator))


def write_dynamic(source: Path, target: Path) -> None:
    """Quantize the weights of linear maps; what they multiply is quantized anew in every decision."""
    model = onnx.load(source)
    chosen = [renamed for name in _with_weights(model, LINEAR) for renamed in (name, f"{name}_MatMul")]  # of a Gemm
    quantize_dynamic(
        source, target, nodes_to_quantize=chosen, per_channel=True, extra_options={"MatMulConstBOnly": True}
    )
    shrink(target)
    describe(target, about(source))


def write_static(source: Path, target: Path, looks: Iterable[Feeds]) -> None:
    """Quantize what has weights, and their inputs in the ranges that they have on looks."""
    model = onnx.load(source)
    between = _between_convolutions(model)
    last = _nothing_follows(model, between)
    chosen = [name for name in _with_weights(model, LINEAR | CONVOLUTION) if name not in last] + between
    quantize_static(
        source, target, _Looks(looks), nodes_to_quantize=chosen, per_channel=True,
        op_types_to_quantize=sorted(LINEAR | CONVOLUTION | BETWEEN),
        activation_type=QuantType.QUInt8,  # unsigned times signed is what processors multiply
        extra_options={"OpTypesToExcludeOutputQuantization": sorted(LINEAR)},
    )  # fmt: skip
    shrink(target)
    describe(target, about(source))


class _Looks(CalibrationDataReader):
    def __init__(self, looks: Iterable[Feeds]):
        self._looks = iter(looks)

    def get_next(self) -> dict | None:
        return next((dict(one) for one in self._looks), None)


def _with_weights(model: onnx.ModelProto, kinds: set[str]) -> list[str]:
    """Return the names of nodes that multiply with float32 weights; the geometry's constants are float64."""
    weights = {one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    return [node.name for node in model.graph.node if node.op_type in kinds and weights & set(node.input)]


def _between_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of nodes whose inputs all come from convolutions, or from other such nodes."""
    found: list[str] = []
    made: set[str] = set()
    for node in model.graph.node:  # in the order of computation
        joins = node.op_type in BETWEEN and set(filter(None, node.input[: 2 if node.op_type == "Add" else 1])) <= made
        if joins:
            found.append(node.name)
        if joins or node.op_type == "Conv":
            made.update(node.output)
    return found


def _nothing_follows(model: onnx.ModelProto, between: list[str]) -> set[str]:
    """Return the names of convolutions that end a trunk: what they give would be rounded for nothing."""
    goes_on = {
        name for node in model.graph.node if node.op_type == "Conv" or node.name in between for name in node.input
    }
    return {node.name for node in model.graph.node if node.op_type == "Conv" and not goes_on & set(node.output)}
