"""The expert: it succeeds, never asks the arm for more than it may do, and varies."""

import numpy as np
import pytest
from fr3 import FR3, SERVO_PERIOD_S
from playing import PUSHED, CommandLog, play_expert

from sim.dataset.recorder import EpisodeRecorder
from sim.envs.sim_env import SimEnv
from sim.expert.imperfections import CLEAN

UNSEEN = 700_000


@pytest.fixture(scope="module")
def env():
    built = SimEnv()
    yield built
    built.close()


def check_limits(commands: np.ndarray) -> None:
    """Position, velocity and acceleration of the 125 Hz command, by finite differences."""
    velocity = np.diff(commands, axis=0) / SERVO_PERIOD_S
    acceleration = np.diff(velocity, axis=0) / SERVO_PERIOD_S
    assert (commands >= FR3.position_min_rad).all() and (commands <= FR3.position_max_rad).all()
    assert np.abs(velocity).max() <= FR3.policy_speed_rad_s * (1 + 1e-6)
    assert np.abs(acceleration).max() <= FR3.policy_accel_rad_s2 * (1 + 1e-3)


def check_episodes(env: SimEnv, seeds: range) -> tuple[int, int]:
    """How many of the episodes succeed, and how many make the guard speak; none goes over a limit or is stopped."""
    log, successes, guarded = CommandLog(env), 0, 0
    for seed in seeds:
        result = play_expert(env, seed)
        check_limits(log.take())
        assert not result.guard.latched, (seed, result.guard)
        successes += result.success
        guarded += bool(result.guard.counts)
    return successes, guarded


def test_it_succeeds_within_the_limits():
    assert check_episodes(SimEnv(), range(UNSEEN, UNSEEN + 12)) == (12, 0)


@pytest.mark.slow
def test_it_succeeds_within_the_limits_a_hundred_times():
    successes, guarded = check_episodes(SimEnv(), range(UNSEEN + 100, UNSEEN + 200))
    assert successes >= 99
    assert guarded <= 2, "where it folds the arm over its base, the guard may slow it"


def test_the_check_of_limits_can_fail():
    still = np.tile(FR3.home_rad, (10, 1))
    check_limits(still)
    jump = still.copy()
    jump[5:, 2] += 0.012  # 1.5 rad/s
    with pytest.raises(AssertionError):
        check_limits(jump)


def test_the_same_seed_moves_the_same_way(env):
    log = CommandLog(env)
    play_expert(env, UNSEEN)
    first = log.take()
    play_expert(env, UNSEEN + 1)
    log.take()
    play_expert(env, UNSEEN)
    assert np.array_equal(first, log.take())


def test_a_push_is_flagged_and_recovered_from():
    env = SimEnv()
    pushed = 0
    for seed in range(UNSEEN + 20, UNSEEN + 24):
        flags = Flags()
        result = play_expert(env, seed, flags, quality=PUSHED)
        assert result.success
        pushed += any(flags.perturbed)
        assert not flags.perturbed[-1]
    assert pushed >= 2


class Flags:
    """Keeps what the expert says of its steps; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self):
        self.perturbed: list[bool] = []

    def add(self, step) -> None:
        self.perturbed.append(step.flags["perturbed"])


def test_no_two_experts_move_alike(env):
    times = [play_expert(env, seed, quality=CLEAN).time_s for seed in range(UNSEEN, UNSEEN + 6)]
    assert max(times) - min(times) > 0.5


def test_a_recorded_episode_says_what_it_is():
    env = SimEnv()
    recorder = EpisodeRecorder(FR3)
    result = play_expert(env, UNSEEN + 3, recorder)
    episode = recorder.episode(result, "expert", env.metadata())
    steps = len(episode.columns["action"])
    assert result.steps == steps and episode.metadata["seed"] == UNSEEN + 3 and episode.metadata["success"] is True
    assert episode.columns["next.success"].tolist() == [False] * (steps - 1) + [True]
    assert episode.columns["next.reward"].tolist() == [-1.0] * (steps - 1) + [0.0]
    assert {"draw/object_xy_m", "draw/action_delay_s", "draw/light_strength"} <= set(episode.metadata)
    moved = np.linalg.norm(np.diff(episode.columns["grounding.object_pos_w"], axis=0), axis=1).sum()
    assert moved > 0.1  # the cube was carried
    env.close()
