"""A whole policy as an ONNX graph: written, compared with torch, run."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from torch import Tensor
from torch.onnx import register_custom_op_symbolic  # pyright: ignore[reportPrivateImportUsage]

from policies.core.interface import Decision
from policies.core.target_memory import TargetMemory
from policies.core.weight_files import as_bytes
from policies.export.noise import RecordedNoise
from policies.export.smaller import shrink
from policies.export.whole_policy import OUTPUTS, WholePolicy, draw_look
from policies.pretrained.weights import atomic_file
from policies.runtime.decider import Decider
from policies.vision.efficientnet import open_session
from sim.core.contract import Observation
from sim.core.errors import UserError, reason
from sim.core.provenance import plain

TOLERANCE = 1e-4  # rad, and of the gripper's opening
OPSET = 18  # version of ONNX's operators
LOOKS = 3  # that are compared


def write_graph(decider: Decider, target: Path) -> float:
    """Export a policy as one ONNX file; return the largest difference to torch on looks of coloured patches, rad.

    UserError where it cannot be exported, or its graph decides otherwise: a trace freezes what a network computes in
    Python from the values it sees.
    """
    whole = WholePolicy(decider).eval()
    look = draw_look(whole.spec, np.random.default_rng(0), whole.cameras)
    noise = whole.noise(decider, look)
    names = [*whole.inputs, *(f"noise.{i}" for i in range(len(noise.drawn)))]
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as part:
        _trace(whole, (*whole.tensors(decider, look, look.state), *noise.drawn), names, part)
        shrink(part)
        describe(part, {**_identity(decider), "draws": noise.by, **_explained(whole)})
        difference = largest_difference(decider, part)
        if not difference <= TOLERANCE:
            raise UserError(f"the graph decides otherwise than the policy, by {difference:g} rad: it is not exported")
    return difference


def _trace(whole: WholePolicy, inputs: tuple, names: list[str], target: Path) -> None:
    # torch's own fast path of a transformer layer has no ONNX operator.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracing exporter, as in policies/vision/efficientnet.py
        try:
            outputs = list(OUTPUTS[: len(whole(*inputs))])
            register_custom_op_symbolic("aten::mT", _transposed, OPSET)
            torch.onnx.export(
                whole, inputs, target, input_names=names, output_names=outputs, dynamo=False, opset_version=OPSET
            )
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:
            raise UserError(f"this policy cannot be exported ({reason(error)})") from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def _transposed(graph: Any, matrices: Any) -> Any:
    """Return the operator of `Tensor.mT`, which the exporter does not know."""
    *axes, row, column = range(matrices.type().dim())
    return graph.op("Transpose", matrices, perm_i=[*axes, column, row])


def _identity(decider: Decider) -> dict[str, Any]:
    """Return what tells the graph of one policy from that of another."""
    weights = as_bytes(decider.policy.state_dict())[1]
    return {**weights, **plain(decider.conditioning), "policy": plain(decider.policy.config)}


def _explained(whole: WholePolicy) -> dict[str, Any]:
    return {
        "spec": plain(whole.spec),
        "actions": "absolute joint targets, rad, then the gripper's opening 0..1",
        "points": "m, where the named things are, as spec.points names them; errors: m, within which each lies",
        "noise": "standard normal (randn) or uniform in 0..1 (rand) as `draws` has it, drawn anew for every decision",
    }


def describe(path: Path, about: Mapping[str, Any]) -> None:
    """Write what a graph is into its file."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.save(model, path)


def about(path: Path) -> dict[str, Any]:
    """Return what a graph's file says of it. UserError where it is no graph that this project wrote, or broken."""
    try:
        return {one.key: json.loads(one.value) for one in onnx.load(path).metadata_props}
    except (DecodeError, ValueError) as error:
        raise UserError(f"{path} is broken, or no graph of policies.export ({reason(error)})") from error


def largest_difference(decider: Decider, path: Path) -> float:
    """Return by how much the graph's chunks differ from torch's on looks that it was not traced with, rad."""
    exported, rng, found = ExportedPolicy(decider, path), np.random.default_rng(1), []
    for seed in range(LOOKS):
        look = draw_look(decider.spec, rng, decider.processor.cameras)
        with RecordedNoise() as recorded:
            expected = decider.decide(look, look.state, [], torch.Generator().manual_seed(seed)).chunk
        decided = exported.decide(look, look.state, recorded.drawn)
        found.append(np.abs(decided.chunk[0].numpy() - expected).max())
    return float(max(found))


class ExportedPolicy:
    """The graph of a policy on one thread of onnxruntime."""

    def __init__(self, decider: Decider, path: Path):
        """decider: of the same policy, which knows the inputs and encodes instructions. UserError for another's."""
        self._decider, self._whole = decider, WholePolicy(decider)
        described = about(path)
        if any(described.get(name) != value for name, value in _identity(decider).items()):
            raise UserError(f"{path} is the graph of another policy, indicator or guidance: export it anew")
        self._session: onnxruntime.InferenceSession = open_session(path, threads=1)
        self._draws: list[str] = described["draws"]

    def draw(self, generator: torch.Generator) -> list[Tensor]:
        """Draw the noise of a decision, as the policy does."""
        shapes = [one.shape for one in self._session.get_inputs()[-len(self._draws) :]] if self._draws else []
        return [getattr(torch, by)(*shape, generator=generator) for by, shape in zip(self._draws, shapes, strict=True)]

    def feeds(
        self, look: Observation, commanded: np.ndarray, noise: Sequence[Tensor], kept: Tensor | None = None
    ) -> dict[str, np.ndarray]:
        """Return what the graph takes. kept: what is remembered of the target, None: nothing."""
        tensors, names = self._whole.tensors(self._decider, look, commanded, kept), self._session.get_inputs()
        tensors += noise
        if len(tensors) != len(names):
            raise UserError("this policy cannot be exported: how often it draws depends on what it sees")
        return {one.name: tensor.numpy() for one, tensor in zip(names, tensors, strict=True)}

    def decide(
        self, look: Observation, commanded: np.ndarray, noise: Sequence[Tensor], memory: TargetMemory | None = None
    ) -> Decision:
        """Return what is decided on a look, with noise as the policy draws it; note in the memory what was seen."""
        feeds = self.feeds(look, commanded, noise, memory.kept if memory else None)
        chunk, *found = (torch.from_numpy(one) for one in self._session.run(None, feeds))
        if memory:
            *found, memory.kept = found
        return Decision(chunk, *found[:2])
