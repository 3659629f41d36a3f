"""A whole policy as an ONNX graph decides what torch decides, by every head and fusion; what cannot be is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fr3 import FR3
from learning import SPEC, TINY, FakeVisionConfig, about
from test_parts import POLICY_CONFIGS

from policies.benchmark import backends
from policies.core.indicator import Indicator
from policies.core.interface import Policy
from policies.core.spec import PolicySpec
from policies.export import graph, half, quantize
from policies.export.export import ExportConfig, main
from policies.export.graph import ExportedPolicy, write_graph
from policies.export.graph_decider import GraphDecider, load_graph_agent
from policies.export.whole_policy import draw_look
from policies.eye.trunk import SIDE
from policies.fusion.eye import EyeFusionConfig
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.language.minilm import FrozenText, MiniLmConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import with_head
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from policies.runtime.episode_context import EpisodeContext
from policies.vision.efficientnet import EfficientNetConfig, FrozenVision
from policies.vision.pixels import PixelsConfig
from sim.core.contract import GROUNDING_COLUMNS, Observation
from sim.core.errors import UserError
from sim.core.paths import ASSETS

PROMPT = "put the red cube on the blue plate"
REAL = {"vision": EfficientNetConfig(), "language": MiniLmConfig()}
FRESH = Conditioning(Indicator.POSITIVE, 1.0)


def alive(policy: Policy) -> Policy:
    """Return the policy without weights that are zero: last layers begin so, which hides what comes before."""
    torch.manual_seed(1)
    for parameter in policy.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return policy.eval()


def exported(config, target, conditioning: Conditioning = FRESH) -> tuple[Decider, onnxruntime.InferenceSession]:
    decider = Decider(alive(config.build(SPEC)), conditioning)
    assert write_graph(decider, target) <= 1e-4
    return decider, onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])


def look(seed: int) -> Observation:
    rng = np.random.default_rng(100 + seed)
    images = {camera: rng.integers(0, 256, (*SPEC.image_size, 3), dtype=np.uint8) for camera in SPEC.cameras}
    return Observation(images, rng.normal(size=SPEC.state_dim).astype(np.float32), PROMPT, 0.0)


def feeds(seen: Observation) -> dict[str, np.ndarray]:
    words, mask = FrozenText().encode([PROMPT])
    return {f"image.{camera}": image[None] for camera, image in seen.images.items()} | {
        "state": seen.state[None], "words": words, "word_mask": mask, "commanded": seen.state[None],
    }  # fmt: skip


NOT_EXPORTED = {
    "fusion true_points", "fusion true_points, sentence", "head fast", "memory", "fusion cross_attention, goal",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(POLICY_CONFIGS) - NOT_EXPORTED))
def test_a_graph_decides_what_the_policy_decides(name, tmp_path):
    config = dataclasses.replace(POLICY_CONFIGS[name], **REAL)
    decider, session = exported(config, tmp_path / "policy.onnx")
    inputs = {one.name: one for one in session.get_inputs()}
    chunks = []
    for seed in range(2):
        # The first draw of a fresh generator, as every head that draws makes it; heads of tokens draw by rand.
        draw = torch.rand if name == "head bins" else torch.randn
        generator = torch.Generator().manual_seed(seed)
        noise = {one: draw(inputs[one].shape, generator=generator).numpy() for one in inputs if "noise" in one}
        values = {one: value for one, value in feeds(look(seed)).items() if one in inputs} | noise
        chunks.append(session.run(["actions"], values)[0][0])
        expected = decider.decide(look(seed), look(seed).state, [], torch.Generator().manual_seed(seed)).chunk
        np.testing.assert_allclose(chunks[-1], expected, atol=1e-4)
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-3
    assert session.get_modelmeta().custom_metadata_map["actions"].startswith('"absolute joint targets')


def test_guidance_and_the_command_that_chunks_start_from_are_in_the_graph(tmp_path):
    config = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, joins=True), **REAL)
    decider, session = exported(config, tmp_path / "policy.onnx", Conditioning(Indicator.NEGATIVE, 2.5))
    seen, generator = look(0), torch.Generator().manual_seed(3)
    commanded = seen.state + np.float32(0.1)
    shape = next(one.shape for one in session.get_inputs() if one.name == "noise.0")
    noise = torch.randn(shape, generator=generator).numpy()
    values = {**feeds(seen), "commanded": commanded[None], "noise.0": noise}
    expected = decider.decide(seen, commanded, [], torch.Generator().manual_seed(3)).chunk
    np.testing.assert_allclose(session.run(["actions"], values)[0][0], expected, atol=1e-4)
    unguided = Decider(decider.policy, FRESH).decide(seen, commanded, [], torch.Generator().manual_seed(3)).chunk
    assert np.abs(unguided - expected).max() > 1e-3


def on_the_eye(**options) -> Decider:
    """A policy on the shipped eye with a head of random weights."""
    spec = PolicySpec(FR3.name, FR3.camera_names, (SIDE, SIDE), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
    fusion = GroundedPointsConfig(width=16, finder=EyeFusionConfig())
    config = dataclasses.replace(TINY, vision=PixelsConfig(), language=MiniLmConfig(), fusion=fusion, **options)
    torch.manual_seed(0)
    policy = config.build(spec)
    policy.load_pretrained(ASSETS / "eye")
    return Decider(alive(policy), FRESH)


@pytest.fixture(scope="module")
def eye(tmp_path_factory) -> tuple[Decider, Path]:
    """Such a policy and its graph."""
    decider, target = on_the_eye(), tmp_path_factory.mktemp("eye") / "policy.onnx"
    assert write_graph(decider, target) <= 1e-4
    return decider, target


def test_the_graph_of_the_eye_finds_what_the_eye_finds(eye):
    decider, target = eye
    played = GraphDecider(decider, target)
    for seed in range(3):
        seen = draw_look(decider.spec, np.random.default_rng(10 + seed), decider.spec.cameras)
        wanted, found = (one.decide(seen, seen.state, [], generator_of(seed)) for one in (decider, played))
        np.testing.assert_allclose(found.chunk, wanted.chunk, atol=1e-3)
        # Noise shows nothing, so where its lines of sight meet is badly conditioned: 0.3 mm is rounding.
        np.testing.assert_allclose(found.points_m, wanted.points_m, atol=1e-3)
        assert [one.name for one in found.estimates] == [one.name for one in wanted.estimates] == ["object", "target"]
        for one, other in zip(found.estimates, wanted.estimates, strict=True):
            np.testing.assert_allclose(one.within_m, other.within_m, rtol=1e-3)


def test_the_graph_remembers_the_target_as_the_policy_does(tmp_path):
    decider, target = on_the_eye(remember_target=True), tmp_path / "policy.onnx"
    assert write_graph(decider, target) <= 1e-4
    deciders = (decider, GraphDecider(decider, target))
    contexts, targets = [EpisodeContext(decider.policy) for _ in deciders], []
    for seed in range(4):
        seen = draw_look(decider.spec, np.random.default_rng(10 + seed), decider.spec.cameras)
        wanted, found = (
            one.decide(seen, seen.state, [], generator_of(seed), context)
            for one, context in zip(deciders, contexts, strict=True)
        )
        np.testing.assert_allclose(found.chunk, wanted.chunk, atol=1e-3)
        np.testing.assert_allclose(found.points_m, wanted.points_m, atol=1e-3)
        targets.append(tuple(wanted.points_m[0, 1].tolist()))
    assert len(set(targets)) < len(targets)  # one look was better than the next


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A policy with a head of more weights, and its graph."""
    head, path = dataclasses.replace(TINY.head, hidden=192, blocks=2), tmp_path_factory.mktemp("wide") / "policy.onnx"
    torch.manual_seed(0)
    return exported(dataclasses.replace(TINY, head=head, **REAL), path)[0], path


def test_a_quantized_graph_is_smaller_and_decides_nearly_the_same(wide, tmp_path):
    decider, path = wide
    whole, generator = ExportedPolicy(decider, path), torch.Generator().manual_seed(0)
    feeds = [whole.feeds(look(seed), look(seed).state, whole.draw(generator)) for seed in range(4)]
    quantize.write_dynamic(path, tmp_path / "dynamic.onnx")
    quantize.write_static(path, tmp_path / "static.onnx", feeds)
    files = [path, *(tmp_path / f"{name}.onnx" for name in ("dynamic", "static"))]
    whole_size, *sizes = [path.stat().st_size for path in files]
    assert sizes[0] < 0.8 * whole_size and sizes[1] < 0.6 * whole_size
    wanted, *found = [GraphDecider(decider, path).decide(look(9), look(9).state, [], generator_of(9)) for path in files]
    for one in found:
        assert 0 < np.abs(one.chunk - wanted.chunk).max() < 0.1 * np.abs(wanted.chunk).max()


def test_weights_in_16_bits_decide_as_weights_rounded_to_them(wide, tmp_path):
    decider, path = wide
    half.write_half(path, tmp_path / "half.onnx")
    model = onnx.load(path)
    for one in model.graph.initializer:
        value = onnx.numpy_helper.to_array(one)
        if value.dtype == np.float32:
            rounded = value.astype(np.float16).astype(np.float32)
            one.CopyFrom(onnx.numpy_helper.from_array(rounded, one.name))
    onnx.save(model, tmp_path / "rounded.onnx")
    paths = [path, tmp_path / "rounded.onnx", tmp_path / "half.onnx"]
    whole, rounded, found = (
        GraphDecider(decider, path).decide(look(9), look(9).state, [], generator_of(9)).chunk for path in paths
    )
    assert np.allclose(found, rounded, atol=1e-6) and not np.allclose(found, whole, atol=1e-5)
    assert paths[2].stat().st_size < 0.6 * paths[0].stat().st_size


def test_weights_that_16_bits_cannot_hold_stay(tmp_path):
    large, small = np.float32([1e6, 1.0]), np.float32([0.1, 0.2])
    weights = [onnx.numpy_helper.from_array(value, name) for value, name in ((large, "large"), (small, "small"))]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    nodes = [onnx.helper.make_node("Mul", ["x", "large"], ["z"]), onnx.helper.make_node("Add", ["z", "small"], ["y"])]
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opset)
    model.ir_version = 9
    onnx.save(model, tmp_path / "policy.onnx")
    half.write_half(tmp_path / "policy.onnx", tmp_path / "half.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "half.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.float32([1.0, 0.0])})[0]
    assert found.tolist() == [np.float32(1e6) + np.float32(np.float16(0.1)), np.float32(np.float16(0.2))]


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_graph_is_told_no_steps_of_a_long_instruction(eye):
    decider, target = eye
    seen = dataclasses.replace(draw_look(decider.spec, np.random.default_rng(0), decider.processor.cameras),
                               instruction="sort the cubes onto the plates of their colour")  # fmt: skip
    with pytest.raises(UserError, match="is played step by step, which a graph is not; play the checkpoint itself"):
        GraphDecider(decider, target).decide(seen, seen.state, [], generator_of(0))


def test_the_graph_of_another_policy_is_refused(eye):
    decider, target = eye
    other = Decider(decider.policy, Conditioning(Indicator.NEGATIVE, 1.0))
    exits = with_head(decider.policy, dataclasses.replace(decider.policy.config.head, exit_below=1.0))
    exits.load_state_dict(decider.policy.state_dict())  # the same weights, played otherwise
    for one in (other, Decider(exits.eval(), decider.conditioning)):
        with pytest.raises(UserError, match="is the graph of another policy, indicator or guidance"):
            GraphDecider(one, target)


def test_an_agent_of_a_graph_knows_the_task_and_decides_by_the_graph(eye, tmp_path):
    decider, target = eye
    encoders = decider.processor.encoders
    about = CheckpointMetadata(encoders["vision"], encoders["text"], ("pick_place",), {})
    checkpoint.save(tmp_path / "policy", decider.policy, about)
    agent = load_graph_agent(tmp_path / "policy", "positive", None, Timing(), graph=target)
    assert agent.task == "pick_place" and isinstance(agent.decider, GraphDecider)
    seen = draw_look(decider.spec, np.random.default_rng(0), decider.processor.cameras)
    agent.reset(seen, 7)
    action = agent.act(seen)
    expected = GraphDecider(decider, target).decide(seen, seen.state, [], generator_of(7))
    np.testing.assert_allclose(action, expected.chunk[0], atol=1e-6)
    with pytest.raises(UserError, match="a graph decides on images, not on an earlier look"):
        agent.decider.decide(seen, seen.state, [], generator_of(7), seen=decider.see(seen))


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_what_is_no_graph_is_refused_in_one_line(eye, tmp_path, kept):
    decider, target = eye
    other = tmp_path / "policy.onnx"
    other.write_bytes(target.read_bytes()[: int(kept * target.stat().st_size)] or b"# Notes\n")
    with pytest.raises(UserError, match=r"policy\.onnx is broken, or no graph of policies\.export") as caught:
        GraphDecider(decider, other)
    assert "\n" not in str(caught.value)


def test_a_head_whose_number_of_tokens_varies_is_refused(tmp_path):
    config = dataclasses.replace(POLICY_CONFIGS["head fast"], **REAL)
    with pytest.raises(UserError, match="how often it draws depends on what it sees"):
        exported(config, tmp_path / "policy.onnx")


def test_a_graph_that_decides_otherwise_is_refused_and_no_file_stays(tmp_path, monkeypatch):
    decider = Decider(alive(dataclasses.replace(TINY, **REAL).build(SPEC)), FRESH)
    monkeypatch.setattr(graph, "largest_difference", lambda *_: 0.02)
    with pytest.raises(UserError, match="the graph decides otherwise than the policy, by 0.02 rad"):
        write_graph(decider, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_encoded_outside_torch_is_refused(tmp_path):
    decider = Decider(dataclasses.replace(TINY, vision=FakeVisionConfig()).build(SPEC), FRESH)
    with pytest.raises(UserError, match="the images of FakeVision are encoded outside torch"):
        write_graph(decider, tmp_path / "policy.onnx")


def test_the_benchmark_times_both_backends_on_the_same_looks(monkeypatch):
    small = Decider(alive(dataclasses.replace(TINY, **REAL).build(SPEC)), FRESH)
    monkeypatch.setattr(backends, "default_decider", lambda: small)
    table, rows = backends.backend_table(decisions=3)
    assert [row["backend"] for row in rows] == ["torch", "onnxruntime"] and table.row_count == 2
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["n"] == 3 for row in rows)


def test_the_program_writes_beside_the_checkpoint_and_says_the_difference(tmp_path, caplog):
    made = about(vision=FrozenVision().fingerprint, text=FrozenText().fingerprint)
    checkpoint.save(tmp_path, alive(dataclasses.replace(TINY, **REAL).build(SPEC)), made)
    with caplog.at_level("INFO"):
        main(ExportConfig(checkpoint=str(tmp_path)))
        main(ExportConfig(checkpoint=str(tmp_path), quantize="float16"))
    assert (tmp_path / "policy.onnx").is_file() and (tmp_path / "policy.float16.onnx").is_file()
    assert caplog.text.count("differs from torch by") == 2
