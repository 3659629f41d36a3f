"""Policies of LeRobot served to this project, and this project's in LeRobot, inside LeRobot 0.6 (`make test-lerobot`).
The oracle is LeRobot's own loop over its own processors."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot 0.6 needs Python 3.12 and an environment of its own")
pytest.importorskip("diffusers", reason="LeRobot's diffusion policy needs it")
pytest.importorskip("num2words", reason="LeRobot's SmolVLA needs it")

import torch
from fr3 import FR3
from learning import SPEC, about, tiny_model
from lerobot.configs import FeatureType, PolicyFeature  # pyright: ignore[reportMissingImports]
from lerobot.policies import (  # pyright: ignore[reportMissingImports]
    ACTConfig,
    DiffusionConfig,
    SmolVLAConfig,
    get_policy_class,
    make_policy,
    make_pre_post_processors,
)
from lerobot.rollout.inference.sync import SyncInferenceEngine  # pyright: ignore[reportMissingImports]
from lerobot_robot_fairino_fr3 import FairinoFR3Env, FR3VLAConfig  # pyright: ignore[reportMissingImports]
from lerobot_robot_fairino_fr3.served_policy import (  # pyright: ignore[reportMissingImports]
    LeRobotPolicy,
    LeRobotSession,
)
from serving import HOST, PlainClient, running
from tiny_smolvlm import write_smolvlm

from policies.models import checkpoint
from policies.remote.keys import ServerKeys
from policies.remote.remote_agent import connect_agent
from policies.remote.server import PolicyServer
from policies.runtime.agent import load_agent
from policies.runtime.chunk_agent import Timing
from sim.core.contract import Observation
from sim.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SIZE, PROMPT, STEPS, SEED = (64, 64), "reach for the red plate", 13, 3
KINDS = {
    "act": lambda **features: ACTConfig(
        chunk_size=10, n_action_steps=6, dim_model=32, n_heads=2, dim_feedforward=32, n_encoder_layers=1,
        n_vae_encoder_layers=1, latent_dim=4, **features,
    ),
    "diffusion": lambda **features: DiffusionConfig(
        horizon=16, n_action_steps=8, down_dims=(16, 32), n_groups=4, diffusion_step_embed_dim=16,
        num_train_timesteps=5, spatial_softmax_num_keypoints=4, **features,
    ),
    "smolvla": lambda **features: SmolVLAConfig(
        chunk_size=10, n_action_steps=6, num_vlm_layers=2, num_steps=3,
        resize_imgs_with_padding=(64, 64), **features,
    ),
}  # fmt: skip


def look(step: int, size: tuple[int, int] = SIZE) -> Observation:
    rng = np.random.default_rng(step)
    images = {camera: rng.integers(0, 255, (*size, 3), dtype=np.uint8) for camera in FR3.camera_names}
    state = np.array([*FR3.home_rad, 0.8], np.float32) + np.float32(0.02 * step)
    return Observation(images, state, PROMPT, 0.05 * step)


def statistics(scale: float) -> dict:
    """Of a dataset that the policy could have been trained on; scale: of joint angles."""
    home = torch.tensor([*FR3.home_rad, 0.5])
    spread = torch.tensor([0.02, 0.03, 0.025, 0.02, 0.01, 0.04, 0.2])  # what random weights decide is near home
    joints = {"mean": home, "std": spread, "min": home - 2 * spread, "max": home + 2 * spread}
    scaled = {name: value * scale for name, value in joints.items()}
    image = {"mean": torch.full((3, 1, 1), 0.4), "std": torch.full((3, 1, 1), 0.2)}
    cameras = {f"observation.images.{camera}": image for camera in FR3.camera_names}
    return {"observation.state": joints, "action": scaled, **cameras}


def write_checkpoint(out: Path, kind: str, cameras: tuple[str, ...] = FR3.camera_names, scale: float = 1.0) -> Path:
    """A checkpoint of random weights, as lerobot-train writes one."""
    backbone: dict[str, str | None] = {"pretrained_backbone_weights": None}
    if kind == "smolvla":
        backbone = {"vlm_model_name": str(write_smolvlm(out / "backbone"))}
    image = PolicyFeature(FeatureType.VISUAL, (3, *SIZE))
    values = (FR3.action_dim,)
    config = KINDS[kind](
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, values)}
        | {f"observation.images.{camera}": image for camera in cameras},
        output_features={"action": PolicyFeature(FeatureType.ACTION, values)},
        device="cpu", **backbone,
    )  # fmt: skip
    torch.manual_seed(0)
    get_policy_class(kind)(config).save_pretrained(out)
    for processor in make_pre_post_processors(config, dataset_stats=statistics(scale)):
        processor.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each kind's checkpoint, and one of this project."""
    out = tmp_path_factory.mktemp("checkpoints")
    for kind in KINDS:
        write_checkpoint(out / kind, kind)
    checkpoint.save(out / "ours", tiny_model(), about(provenance={}, vision="fake-vision", text="fake-text"))
    return out


def engine_of(policy, config, root: Path | None) -> SyncInferenceEngine:
    """LeRobot's loop: what lerobot-rollout plays."""
    before, after = make_pre_post_processors(config, str(root) if root else None)
    names = {"action": {"names": list(FR3.value_names)}}
    return SyncInferenceEngine(policy, before, after, names, list(FR3.value_names), PROMPT, "cpu", FR3.name)


def frame(observation: Observation) -> dict:
    images = {f"observation.images.{camera}": image for camera, image in observation.images.items()}
    return {**images, "observation.state": observation.state}


@pytest.mark.parametrize(("kind", "every"), [("act", 6), ("diffusion", 8), ("smolvla", 6)])
def test_a_policy_of_lerobots_is_played_as_lerobot_plays_it(made, kind, every):
    policy = get_policy_class(kind).from_pretrained(made / kind)
    engine, expected = engine_of(policy, policy.config, made / kind), []
    engine.reset()
    seeds = np.random.default_rng(SEED)
    for step in range(STEPS):
        if step % every == 0:
            torch.manual_seed(int(seeds.integers(2**63)))
        expected.append(engine.get_action(frame(look(step))).numpy())
    served = LeRobotPolicy(made / kind, FR3)
    server = PolicyServer(served.metadata().message(), lambda: LeRobotSession(served), HOST, 0, None)
    with running(server) as url:
        agent = connect_agent(url, FR3, ServerKeys(), Timing())
        assert (agent.image_size, agent.cameras, agent.chunks.execute) == (SIZE, FR3.camera_names, every)
        for _ in range(2):  # an episode leaves nothing to the next
            agent.reset(look(0), SEED)
            played = [agent.act(look(step)) for step in range(STEPS)]
            np.testing.assert_allclose(played, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 1e-3  # they move


def test_requests_that_cannot_be_decided_on_are_one_line(made):
    served = LeRobotPolicy(made / "diffusion", FR3)
    request = ServerKeys().request(look(0))
    for own, message in (
        ({"before": 5}, "'before' is not a list"),
        ({"before": [request] * 2}, "at most 1"),
        (3, "a int"),
    ):
        server = PolicyServer(served.metadata().message(), lambda: LeRobotSession(served), HOST, 0, None)
        with running(server) as url, pytest.raises(RuntimeError, match=message):
            PlainClient(url).infer({**request, "fr3_vla": own})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cameras": ("front", "top")},
            r"looks at observation\.images\.front, observation\.images\.top, the fairino_fr3",
        ),
        ({"scale": 57.3}, "its data were in degrees, expected rad"),
    ],
)
def test_a_checkpoint_for_another_bench_is_one_line(tmp_path, change, message):
    write_checkpoint(tmp_path, "act", **change)
    with pytest.raises(UserError, match=message) as caught:
        LeRobotPolicy(tmp_path, FR3)
    assert "\n" not in str(caught.value)


def test_what_is_no_checkpoint_of_lerobots_is_one_line(made, tmp_path):
    with pytest.raises(UserError, match=r"policies\.serve checkpoint="):
        LeRobotPolicy(made / "ours", FR3)
    with pytest.raises(UserError, match="is no checkpoint of LeRobot"):
        LeRobotPolicy(tmp_path, FR3)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((made / "act" / name).read_bytes()[:2000])
    with pytest.raises(UserError, match="is no checkpoint of LeRobot|cannot be loaded by LeRobot"):
        LeRobotPolicy(tmp_path, FR3)
    (tmp_path / "config.json").write_text(json.dumps({"type": "actor"}))
    with pytest.raises(UserError, match="cannot be loaded by LeRobot: .*actor"):
        LeRobotPolicy(tmp_path, FR3)


# ---- from the command line -----------------------------------------------------------------------


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """The program that serves a checkpoint; its URL."""
    line = [sys.executable, "-m", "lerobot_robot_fairino_fr3.serve", f"checkpoint={root}", "port=0"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        assert program.stdout
        said = next((text for text in program.stdout if text.startswith("serving ")), "")
        found = re.search(r"ws://[\d.:]+", said)
        try:
            assert found
            yield found[0]
        finally:
            program.terminate()
            rest, _ = program.communicate(timeout=60)
    assert program.returncode == 0, rest


def output_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(0)
def test_the_server_refuses_in_one_line(made):
    done = subprocess.run(
        [sys.executable, "-m", "lerobot_robot_fairino_fr3.serve", f"checkpoint={made / 'ours'}"],
        cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    line = f"error: {made / 'ours'} is a checkpoint of this project: python -m policies.serve"
    assert done.returncode == 2 and done.stderr.startswith(line) and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_is_played_in_simulation(made, tmp_path, kind):
    with serving(made / kind) as url:
        output_of(
            "policies.evaluate", f"server={url}", "task=reach", "episodes=1", "videos=0", f"out={tmp_path / kind}"
        )
    results = json.loads((tmp_path / kind / "results.json").read_text())
    assert results["n"] == 1 and results["latency"]["decision"]["n"] >= 80 // results["execute"]


@pytest.mark.timeout(0)
def test_an_episode_is_played_on_the_emulated_arm(made, tmp_path):
    with serving(made / "act") as url:
        output_of(
            "real.rollout", "robot=emulator", "robot.start=always", f"server={url}", "episodes=1", f"out={tmp_path}"
        )
    assert json.loads((tmp_path / "results.json").read_text())["n"] == 1


# ---- this project's in LeRobot -------------------------------------------------------------------


def test_a_policy_of_ours_is_played_by_lerobot_as_we_play_it(made):
    config = FR3VLAConfig(checkpoint=str(made / "ours"))
    policy = get_policy_class("fr3_vla").from_pretrained(None, config=config)
    assert {tuple(one.shape) for one in config.image_features.values()} == {(3, *SPEC.image_size)}
    engine, ours = engine_of(policy, config, None), load_agent(made / "ours")
    for episode in range(2):
        engine.reset()
        ours.reset(look(0, SPEC.image_size), episode)
        for step in range(5):
            seen = look(step, SPEC.image_size)
            np.testing.assert_allclose(engine.get_action(frame(seen)).numpy(), ours.act(seen), atol=1e-6)


def test_lerobots_evaluation_makes_a_policy_of_ours_and_plays_episodes_side_by_side(made):
    env = FairinoFR3Env(task="reach", image_height=32, image_width=32)
    policy = make_policy(FR3VLAConfig(checkpoint=str(made / "ours")), env_cfg=env)
    shown = [look(step, SPEC.image_size) for step in (0, 1)]
    batch = {"observation.state": torch.tensor(np.stack([one.state for one in shown])), "task": [PROMPT] * 2}
    for camera in FR3.camera_names:
        images = np.stack([one.images[camera] for one in shown]).transpose(0, 3, 1, 2)
        batch[f"observation.images.{camera}"] = torch.from_numpy(images) / 255
    actions = policy.select_action(batch)
    for number, one in enumerate(shown):
        agent = load_agent(made / "ours")
        agent.reset(one, number)
        np.testing.assert_allclose(actions[number].numpy(), agent.act(one), atol=1e-6)
    chunks = policy.predict_action_chunk(batch)
    assert chunks.shape == (2, policy._decider.policy.config.chunk, FR3.action_dim)
    with pytest.raises(UserError, match=r"policies\.train trains them"):
        policy(batch)
