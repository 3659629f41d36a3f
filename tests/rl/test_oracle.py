"""The oracle's bit: the expert's steps to go from the simulator's truth."""

import numpy as np
import pytest
from outcome_examples import write_dataset

from rl.algorithms.oracle_bit import check_whole_plans
from rl.data.expert_steps import expert_steps, rest_to_rest_s
from sim.collect import CollectConfig, collect
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.expert.imperfections import CLEAN
from sim.parallel.workers import WorkerConfig

ALONE = WorkerConfig(workers=1)


@pytest.mark.parametrize("distance", [0.01, 0.2, 0.3, 2.0])
def test_a_profile_from_rest_to_rest_covers_its_distance(distance):
    """Integrated: full acceleration to the middle of the time, full braking after, never above the speed."""
    speed, accel = 1.1, 5.0
    time_s = np.linspace(0.0, rest_to_rest_s(distance, speed, accel), 20001)
    driven = np.minimum(np.minimum(accel * time_s, accel * (time_s[-1] - time_s)), speed)
    assert np.trapezoid(driven, time_s) == pytest.approx(distance, rel=1e-4)


def test_steps_to_go_are_in_the_order_of_those_it_took(tmp_path):
    """Oracle: the recorded episodes' own lengths."""
    root = tmp_path / "demos"
    collect(CollectConfig(task="pick_place", episodes=2, out=str(root), workers=1, images=False, quality=CLEAN))
    dataset = Dataset(root)
    steps = np.split(expert_steps(dataset, ALONE), [dataset.length(0)])
    for episode, planned in enumerate(steps):
        taken = np.arange(dataset.length(episode))[::-1]
        assert len(planned) == len(taken)
        assert np.corrcoef(np.argsort(np.argsort(planned)), np.argsort(np.argsort(taken)))[0, 1] > 0.95
        assert (planned <= taken + 15).all()  # a grip and a bit more: the expert's own way is no faster than its plan


def test_episodes_that_were_not_simulated_have_no_oracle(tmp_path):
    dataset = Dataset(write_dataset(tmp_path / "robot", [(1, 20, True, None)]))
    with pytest.raises(UserError, match="was not recorded in simulation"):
        expert_steps(dataset, ALONE)


def test_plans_that_end_before_the_task_does_are_refused():
    actual = np.tile(np.arange(60.0)[::-1], 3)
    check_whole_plans(0.5 * actual, actual, np.ones(180, bool))
    with pytest.raises(UserError, match=r"correlate by .*part by part"):
        check_whole_plans(actual % 20, actual, np.ones(180, bool))
    check_whole_plans(np.where(np.arange(180) < 60, actual % 20, actual), actual, np.arange(180) >= 60)
