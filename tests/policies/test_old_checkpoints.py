"""What was made before parts had names still loads: a checkpoint plays the same chunk, a fusion finds the same points.

`old_outputs.json` was written by the code of that time, for the images drawn here.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FR3

from policies.core.migrate import migrate_checkpoint
from policies.core.spec import PolicySpec
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.processing.observation import ObservationProcessor
from policies.runtime.agent import load_agent
from sim.core.contract import GROUNDING_COLUMNS, Observation

ROOT = Path(__file__).resolve().parents[2]
OLD = ROOT / "tests" / "data" / "checkpoint_v0"
THEN = json.loads((ROOT / "tests" / "data" / "old_outputs.json").read_text())


def look(seed: int, size: tuple[int, int]) -> Observation:
    rng = np.random.default_rng(seed)
    images = {camera: rng.integers(0, 255, (*size, 3), dtype=np.uint8) for camera in FR3.camera_names}
    state = np.array([*FR3.home_rad, 1.0], np.float32)
    return Observation(images, state, "put the red cube on the blue plate", 0.0)


@pytest.mark.parametrize("how", THEN["chunks"])
def test_an_old_checkpoint_plays_the_chunk_it_played_then(how):
    indicator, guidance = how.split()
    agent = load_agent(OLD, indicator, float(guidance))
    agent.reset(look(0, (32, 32)), 5)
    actions = np.array([agent.act(look(0, (32, 32))), *agent.upcoming])
    np.testing.assert_allclose(actions, THEN["chunks"][how]["chunk"], atol=1e-5)
    np.testing.assert_allclose(agent.points_m[0], THEN["chunks"][how]["points_m"], atol=1e-6)


def test_an_old_checkpoint_is_saved_as_a_new_one(tmp_path):
    policy, metadata = checkpoint.load(OLD)
    assert policy.spec == PolicySpec(FR3.name, FR3.camera_names, (32, 32), 7, 7, GROUNDING_COLUMNS)
    checkpoint.save(tmp_path, policy, metadata)
    again, same = checkpoint.load(tmp_path)
    assert again.config == policy.config and again.spec == policy.spec and same == metadata
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in policy.state_dict().items())


@pytest.mark.parametrize("name", THEN["fusions"])
def test_a_shipped_fusion_finds_what_it_found_then(name):
    torch.manual_seed(0)
    policy = VlaConfig().build(PolicySpec(FR3.name, FR3.camera_names, (96, 96), 7, 7, GROUNDING_COLUMNS))
    card = policy.load_pretrained(ROOT / "assets" / name)
    assert card["held_out_frames"] == 1600
    with torch.no_grad():
        prefix = policy.fusion(ObservationProcessor(policy).observe(look(1, (96, 96))))
    then = THEN["fusions"][name]
    np.testing.assert_allclose(prefix.points[0], then["points_m"], atol=1e-5)
    np.testing.assert_allclose(prefix.tokens[0, 0, :8], then["prefix_first"], atol=1e-4)
    assert prefix.tokens.mean().item() == pytest.approx(then["prefix_mean"], abs=1e-5)


@pytest.mark.parametrize(("head", "predicts"), [({}, "noise"), ({"predicts": "velocity"}, "velocity")])
def test_a_diffusion_head_of_before_finds_the_noise(head, predicts):
    content = {"tasks": [], "spec": {}, "policy": {"name": "vla", "head": {"name": "diffusion", **head}}}
    assert migrate_checkpoint(content, {})[0]["policy"]["head"]["predicts"] == predicts
