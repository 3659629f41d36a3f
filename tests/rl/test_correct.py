"""A person corrects a policy in simulation: played in real time, recorded as RECAP's pool reads it."""

import types

import numpy as np
import pytest
from fr3 import FR3, OTHER_ROBOTS
from outcome_examples import write_dataset
from scripted import ScriptedOperator

from policies.models.checkpoint import CheckpointMetadata
from rl import correct
from rl.correct import CorrectConfig
from rl.data.pool import Interventions, open_pool
from rl.data.rollouts import Behaviour
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.randomize.ranges import nominal
from sim.scene.build import RenderConfig
from sim.teleop.device import TOP_SPEED_M_S, Command

INTERVENES_AT = 6
GAIN_PER_S = 3.0


class Holding:
    """A policy that stays where it is."""

    def reset(self, observation, seed):
        self._state = observation.state

    def act(self, observation):
        return self._state

    def flags(self):
        return {}


class Onlooker(ScriptedOperator):
    """Takes over after a while and pushes the tool to where the task wants it, as eyes and a stick would."""

    def __init__(self):
        super().__init__({INTERVENES_AT: [Command.INTERVENE]})
        self.world, self.confirmed = None, 0

    def confirm(self):
        self.confirmed += 1
        self._period = 0

    def twist_w(self):
        labels = self.world.ground_truth()
        away = labels["grounding.target_pos_w"] + [0, 0, 0.03] - labels["grounding.object_pos_w"]
        return np.array([*np.clip(GAIN_PER_S * away, -TOP_SPEED_M_S, TOP_SPEED_M_S), 0, 0, 0])


@pytest.fixture
def person(monkeypatch):
    """The onlooker sees the world of the episode; it runs as fast as it can."""
    onlooker = Onlooker()
    monkeypatch.setattr(Behaviour, "needs_images", True)
    monkeypatch.setattr(Behaviour, "agent", lambda self, env: Holding())
    metadata = CheckpointMetadata("", "", ("reach",), {})
    policy = types.SimpleNamespace(spec=types.SimpleNamespace(robot=FR3.name, control_hz=FR3.control_hz))
    monkeypatch.setattr(correct.checkpoint, "load", lambda root: (policy, metadata))
    monkeypatch.setattr(correct, "RealTimePacer", lambda period_s: types.SimpleNamespace(add=lambda *_, **__: None))
    open_world = correct.OperatorWorker.__init__

    def opened(self, *arguments):
        open_world(self, *arguments)
        onlooker.world = self._sim.world

    monkeypatch.setattr(correct.OperatorWorker, "__init__", opened)
    return onlooker


def config(tmp_path, **options) -> CorrectConfig:
    given = {
        "episodes": 2,
        "out": str(tmp_path / "out"),
        "randomize": nominal(),
        "render": RenderConfig(height=16, width=16),
    }
    return CorrectConfig(**{"task": "reach", **given, **options})


def test_corrected_episodes_are_a_pool_and_a_run_goes_on(person, tmp_path, caplog):
    root = correct.correct(config(tmp_path), person)
    kept = Dataset(root).num_episodes
    assert kept >= 1
    assert person.confirmed == 2
    pool = open_pool([root])
    assert set(pool.source) == {"intervention"}
    assert set(pool.task) == {"reach"}
    for episode in range(kept):
        flags = pool.intervention[pool.rows(episode)]
        assert flags.tolist() == [k >= INTERVENES_AT for k in range(len(flags))]
        assert Dataset(root).episode_metadata(episode)["intervention/reason"] == "operator"
    cut = [segment for _, segment in pool.segments(Interventions.CUT)]
    assert [part.success for part in cut[:2]] == [False, True]
    assert any("live view: http://127.0.0.1" in line for line in caplog.messages)
    last = int(pool.seed[-1])
    correct.correct(config(tmp_path, episodes=last - 500000 + 1), person)
    assert Dataset(root).num_episodes == kept


@OTHER_ROBOTS
def test_a_policy_of_another_robot_or_rate_is_refused(person, tmp_path, robot, message):
    with pytest.raises(UserError, match=f"runs/policy was {message}"):
        correct.correct(config(tmp_path, robot=robot), person)


def test_a_policy_of_another_task_is_refused(person, tmp_path):
    with pytest.raises(UserError, match="task=push, expected reach, which runs/policy was trained on"):
        correct.correct(config(tmp_path, task="push"), person)


def test_an_episode_nobody_touched_is_left_out(person, tmp_path):
    person._script = {4: [Command.FAILURE]}
    root = correct.correct(config(tmp_path, episodes=1), person)
    assert Dataset(root).num_episodes == 0


def test_the_seeds_at_which_rollouts_failed(tmp_path):
    episodes = [(7, 20, True, None), (9, 20, False, None), (12, 20, False, None), (13, 20, False, None)]
    rollouts = write_dataset(tmp_path / "rollouts", episodes, "policy")
    assert CorrectConfig(rollouts=str(rollouts), episodes=2).seeds == [9, 12]
    assert CorrectConfig(seed=5, episodes=2).seeds == [5, 6]


def test_rollouts_without_a_failure_or_that_do_not_tell_are_one_line(person, tmp_path):
    successes = write_dataset(tmp_path / "successes", [(7, 20, True, None)], "policy", "reach")
    nothing = write_dataset(tmp_path / "nothing", [], "policy", "reach")
    foreign = write_dataset(tmp_path / "foreign", [(None, 20, False, None)], "policy", "reach")
    for rollouts, message in (
        (successes, "none of the rollouts in .*successes failed"),
        (nothing, "none of the rollouts in .*nothing failed"),
        (foreign, "foreign has an episode without the metadata 'seed'"),
    ):
        with pytest.raises(UserError, match=message):
            correct.correct(config(tmp_path, rollouts=str(rollouts)), person)
    assert not (tmp_path / "out").exists()


def test_rollouts_of_another_world_are_refused(person, tmp_path):
    stacked = write_dataset(tmp_path / "stacked", [(7, 20, False, None)], "policy", "stack")
    with pytest.raises(UserError, match='stacked were played with task="stack", not "reach"; give task="stack"'):
        correct.correct(config(tmp_path, rollouts=str(stacked)), person)
    path = stacked / "meta" / "provenance.json"
    path.write_text(path.read_text().replace('"world"', '"other"'))
    with pytest.raises(UserError, match="stacked were not played in the simulation"):
        correct.correct(config(tmp_path, rollouts=str(stacked)), person)


def test_seeds_before_the_last_one_kept_are_said_to_be_left_out(person, tmp_path, caplog):
    root = correct.correct(config(tmp_path, seed=500010, episodes=1), person)
    assert Dataset(root).num_episodes == 1
    correct.correct(config(tmp_path, seed=500009, episodes=3), person)
    assert "reaches seed 500010: 2 of 3 seeds are not played" in caplog.text


def test_a_wrong_option_is_named():
    with pytest.raises(UserError, match="did you mean 'keyboard'"):
        CorrectConfig(device="keybord")
    with pytest.raises(UserError, match="episodes=0"):
        CorrectConfig(episodes=0)
