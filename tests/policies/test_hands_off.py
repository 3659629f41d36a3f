"""A run without a person: nothing is moved by magic, what the expert cannot bring back is counted, time adds up."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fr3 import CONTROL_PERIOD_S, FR3, OTHER_ROBOTS
from programs import ended

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.hands_off import HandsOffConfig, HandsOffRun, hands_off, summary
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import VlaConfig
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.core.files import Lock, write_atomic
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.expert.imperfections import CLEAN
from sim.expert.put_back import NEAR_M, draw_free_place, put_back
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.planning.motion_planner import ROOM_M
from sim.randomize.splits import SplitConfig


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A policy with random weights that keeps near the arm's home."""
    out = tmp_path_factory.mktemp("hands_off") / "policy"
    torch.manual_seed(0)
    spec = PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
    policy = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(width=16)).build(spec)
    home = torch.tensor([[*FR3.home_rad, 1.0]]).float()
    chunks = home[:, None] + 0.02 * torch.randn(200, policy.config.chunk, FR3.action_dim)
    policy.fit_normalization(chunks, torch.ones(chunks.shape[:2]).bool(), home.expand(200, -1), torch.zeros(200, 4, 3))
    checkpoint.save(out, policy, CheckpointMetadata("", "", ("pick_place",), {}))
    return out


def placed(env: SimEnv, seed: int):
    """Bring the object to its plate with the expert; return the guard that watched it."""
    env.reset(seed)
    observation, expert, guard = env.observe(), Expert(env, CLEAN), guarded(env.robot)
    expert.reset(observation, seed)
    guard.reset(observation.state)
    while not env.apply(guard.check(observation, expert.act(observation))).terminated:
        observation = env.observe()
    return guard


def test_the_expert_puts_what_was_placed_back_to_a_free_place_of_the_table():
    env = SimEnv(SimulationConfig("pick_place"))
    state = None
    for seed in (1, 2):
        guard = placed(env, seed)
        state = env.world.scene_state
        assert env.world.success()
        place = draw_free_place(np.random.default_rng([seed, 2]), state, 0)
        periods, problem = put_back(env, guard, seed)
        assert problem == "" and 0 < periods * CONTROL_PERIOD_S < 15
        assert place is not None and np.linalg.norm(state.object_pos_w(0)[:2] - place) < NEAR_M
        assert not env.world.success() and not guard.report.latched
        others = [state.object_pos_w(i)[:2] for i in range(1, len(state.layout.object_shapes))]
        plates = [state.target_pos_w(i)[:2] for i in range(len(state.layout.target_colours))]
        assert min(np.linalg.norm(state.object_pos_w(0)[:2] - one) for one in others + plates) > ROOM_M - NEAR_M


def test_what_is_out_of_reach_is_not_put_back():
    env = SimEnv(SimulationConfig("pick_place"))
    env.reset(0)
    first = env.world.scene.object_qpos[0]
    env.world.data.qpos[first : first + 2] = [-0.9, 0.0]
    env.world.step(1)
    assert put_back(env, guarded(env.robot), 0) == (0, "out of reach")


def test_episodes_follow_one_another_in_one_world(root, monkeypatch):
    """The state at an episode's start is that at the end of what came before, and no scene is drawn."""
    run = HandsOffRun(HandsOffConfig(checkpoint=str(root)))
    run._env.world.task.time_limit_s, kept = 2.0, run._env.world.task.time_limit_s
    drawn, reset = [], run._env.reset
    monkeypatch.setattr(run._env, "reset", lambda seed: drawn.append(seed) or reset(seed))
    try:
        first = run.episode(7)
        assert drawn == [7] and first["by_hand"] == "" and first["back_s"] > 2
        before = run._env.world.data.qpos.copy()
        assert np.abs(run._env.world.state() - run._world.start).max() < 0.02
        run._world.reset(8)
        assert drawn == [7] and np.array_equal(run._env.world.data.qpos, before)
        run._world.by_hand = "out of reach"
        run._world.reset(9)
        assert drawn == [7, 9] and not np.array_equal(run._env.world.data.qpos, before)
    finally:
        run._env.world.task.time_limit_s = kept


def test_the_summary_counts_time_and_hands():
    rows = [
        {"success": success, "time_s": 10.0, "back_s": 5.0, "by_hand": hand, "guard": {"latched": hand}}
        for success, hand in ((True, ""), (True, ""), (False, "out of reach"), (True, ""), (False, ""), (True, ""))
    ]
    found = summary(rows)
    assert found["hours"] * 3600 == pytest.approx(90) and found["by_hand"] == {"out of reach": 1}
    assert found["successes_an_hour_of_robot_time"] == pytest.approx(4 / (90 / 3600))
    assert found["longest_without_a_person_h"] * 3600 == pytest.approx(45)
    assert found["success_by_part"] == [1, 1, 0, 1, 0, 1]


def test_hours_of_robot_time_on_the_command_line(root, tmp_path):
    out = tmp_path / "run"
    assert ended("hands_off", f"checkpoint={root}", "hours=0.003", f"out={out}").code == 0
    content = json.loads((out / "results.json").read_text())
    spent = sum(one["time_s"] + one["back_s"] for one in content["episodes"])
    assert content["hours"] == pytest.approx(spent / 3600) and content["hours"] >= 0.003
    assert content["n"] == len(content["episodes"]) >= 1
    found = ended("hands_off", f"checkpoint={root}", f"out={out}")
    assert (found.code, found.err.count("\n")) == (2, 1) and "holds the results of a run" in found.err


@OTHER_ROBOTS
def test_another_robot_or_rate_is_refused(root, robot, message, tmp_path):
    with pytest.raises(UserError, match=f"{root} was {message}"):
        hands_off(HandsOffConfig(checkpoint=str(root), robot=robot, hours=0.003, out=str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("trained", "options", "message"),
    [
        ({"seeds": [[900050, 900060]]}, {}, r"seeds 900000 to 900107 share .* \(900050 to 900060\); .*=900061"),
        ({"splits": [None]}, {"split": SplitConfig("pairs")}, "split=pairs: .* does not say that what it learned from"),
    ],
)
def test_scenes_that_training_showed_are_refused(root, tmp_path, trained, options, message):
    policy, made = checkpoint.load(root)
    checkpoint.save(tmp_path / "policy", policy, replace(made, provenance=trained))
    config = HandsOffConfig(checkpoint=str(tmp_path / "policy"), hours=0.03, out=str(tmp_path / "run"), **options)
    with pytest.raises(UserError, match=message):
        hands_off(config)
    assert not config.directory.exists()


def test_results_of_another_program_that_held_the_folder_until_now_stay(root, tmp_path, monkeypatch):
    def lock(folder, inner):
        write_atomic(folder / "results.json", b"another's")
        return Lock(folder, inner)

    monkeypatch.setattr("policies.hands_off.Lock", lock)
    with pytest.raises(UserError, match="holds the results of a run"):
        hands_off(HandsOffConfig(checkpoint=str(root), hours=0.003, out=str(tmp_path)))
    assert (tmp_path / "results.json").read_bytes() == b"another's"


def test_another_task_is_refused(root, tmp_path):
    with pytest.raises(UserError, match=f"task=push, expected .*, which {root} was trained on"):
        hands_off(HandsOffConfig(checkpoint=str(root), task="push", hours=0.003, out=str(tmp_path / "run")))


def test_drawers_are_refused():
    with pytest.raises(UserError, match="task=open_drawer: the expert cannot close drawers"):
        HandsOffConfig(task="open_drawer")
