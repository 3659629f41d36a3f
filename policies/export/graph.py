"""A whole policy as an ONNX graph: written, compared with torch, run."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from policies.export.noise import RecordedNoise
from policies.export.whole_policy import WholePolicy, draw_look
from policies.pretrained.weights import atomic_file
from policies.runtime.decider import Decider
from policies.vision.efficientnet import open_session
from sim.core.contract import Observation
from sim.core.errors import UserError, reason
from sim.core.provenance import plain

TOLERANCE = 1e-4  # rad, and of the gripper's opening
LOOKS = 3  # that are compared
ACTIONS = "actions"


def write_graph(decider: Decider, target: Path) -> float:
    """Export a policy as one ONNX file; return the largest difference to torch on looks of noise, rad.

    UserError where it cannot be exported, or its graph decides otherwise: a trace freezes what a network computes in
    Python from the values it sees.
    """
    whole = WholePolicy(decider).eval()
    look = draw_look(whole.spec, np.random.default_rng(0), whole.cameras)
    noise = whole.noise(decider, look)
    names = [*whole.inputs, *(f"noise.{i}" for i in range(len(noise)))]
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as part:
        _trace(whole, (*whole.tensors(decider, look), *noise), names, part)
        _describe(part, whole)
        difference = largest_difference(decider, part)
        if not difference <= TOLERANCE:
            raise UserError(f"the graph decides otherwise than the policy, by {difference:g} rad: it is not exported")
    return difference


def _trace(whole: WholePolicy, inputs: tuple, names: list[str], target: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracing exporter, as in policies/vision/efficientnet.py
        try:
            torch.onnx.export(
                whole, inputs, target, input_names=names, output_names=[ACTIONS], dynamo=False, opset_version=18
            )
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:
            raise UserError(f"this policy cannot be exported ({reason(error)})") from error


def _describe(path: Path, whole: WholePolicy) -> None:
    """Write what the inputs are into the file."""
    model = onnx.load(path)
    about = {
        "spec": plain(whole.spec),
        "actions": "absolute joint targets, rad, then the gripper's opening 0..1",
        "noise": "standard normal, or uniform in 0..1 for heads of tokens, drawn anew for every decision",
    }
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.save(model, path)


def largest_difference(decider: Decider, path: Path) -> float:
    """Return by how much the graph's chunks differ from torch's on looks that it was not traced with, rad."""
    exported, rng, found = ExportedPolicy(decider, path), np.random.default_rng(1), []
    for seed in range(LOOKS):
        look = draw_look(decider.spec, rng, decider.processor.cameras)
        with RecordedNoise() as recorded:
            expected = decider.decide(look, look.state, [], torch.Generator().manual_seed(seed)).chunk
        found.append(np.abs(exported.decide(look, recorded.drawn) - expected).max())
    return float(max(found))


class ExportedPolicy:
    """The graph of a policy on one thread of onnxruntime."""

    def __init__(self, decider: Decider, path: Path):
        """decider: of the same policy, which knows the inputs and encodes instructions."""
        self._decider, self._whole = decider, WholePolicy(decider)
        self._session: onnxruntime.InferenceSession = open_session(path, threads=1)

    def decide(self, look: Observation, noise: Sequence[Tensor]) -> np.ndarray:
        """Return the chunk (T, D) for a look, with noise as the policy draws it."""
        tensors, names = self._whole.tensors(self._decider, look), [one.name for one in self._session.get_inputs()]
        tensors += noise
        if len(tensors) != len(names):
            raise UserError("this policy cannot be exported: how often it draws depends on what it sees")
        feeds = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return np.asarray(self._session.run([ACTIONS], feeds)[0])[0]
