"""Episodes of several datasets, and what an intervention does to them."""

import numpy as np
import pytest
from outcome_examples import write_dataset

from policies.fusion.grounded_points import TruePointsConfig
from policies.models.vla import VlaConfig
from rl.data.pool import Interventions, Segment, open_pool, segments
from rl.run.given import check_given
from rl.run.options import RecapConfig
from sim.core.errors import UserError


def test_frames_stand_in_the_order_of_datasets_and_episodes(pool, roots):
    assert len(pool.datasets) == 3
    assert len(pool.length) == 32
    assert len(pool.owner) == pool.length.sum() == len(pool.intervention)
    assert pool.frame[pool.rows(3)].tolist() == list(range(pool.length[3]))
    assert pool.source[[0, 12, 31]].tolist() == ["expert", "policy", "intervention"]
    assert pool.task[0] == "pick_place"
    assert pool.intervention.sum() == 5 * 30
    assert pool.in_datasets([roots["rollouts"]]).sum() == pool.length[12:27].sum()


def test_an_untouched_episode_is_one_segment():
    assert segments(np.zeros(9, bool), Interventions.CUT, success=True) == [Segment(0, 9, True)]
    assert segments(np.zeros(9, bool), Interventions.CUT, success=False) == [Segment(0, 9, False)]


def test_an_intervention_ends_the_policys_part_as_a_failure():
    flags = np.arange(9) >= 6
    assert segments(flags, Interventions.CUT, success=True) == [Segment(0, 6, False), Segment(6, 9, True)]
    assert segments(flags, Interventions.WHOLE, success=True) == [Segment(0, 9, True)]


def test_two_interventions_and_a_policy_that_goes_on_between():
    flags = np.array([0, 0, 1, 1, 0, 0, 1], bool)
    cut = segments(flags, Interventions.CUT, success=True)
    assert cut == [Segment(0, 2, False), Segment(2, 6, False), Segment(6, 7, True)]


def test_corrected_from_the_first_frame():
    assert segments(np.ones(4, bool), Interventions.CUT, success=True) == [Segment(0, 4, True)]


def test_frames_under_intervention_are_left_out_of_the_values_data(pool):
    assert pool.value_mask(Interventions.WHOLE).all()
    assert (pool.value_mask(Interventions.CUT) == ~pool.intervention).all()


def test_an_empty_dataset_is_left_out_and_nothing_is_an_error(tmp_path):
    empty = write_dataset(tmp_path / "empty", [])
    full = write_dataset(tmp_path / "full", [(1, 5, True, None)])
    assert len(open_pool([empty, full]).datasets) == 1
    with pytest.raises(UserError, match="no episodes in"):
        open_pool([empty])


def test_an_episode_that_does_not_say_who_acted(tmp_path):
    root = write_dataset(tmp_path / "old", [(1, 5, True, None)], source=None)
    with pytest.raises(UserError, match="without the metadata 'source'"):
        open_pool([root])


def test_datasets_of_two_robots_are_not_one_pool(tmp_path):
    one = write_dataset(tmp_path / "one", [(1, 5, True, None)])
    other = write_dataset(tmp_path / "other", [(2, 5, True, None)], robot="arm")
    with pytest.raises(UserError, match="one was recorded with fairino_fr3 at 20 Hz, .*other with arm at 20 Hz"):
        open_pool([one, other])


def test_sources_recorded_before_are_read(tmp_path):
    root = write_dataset(tmp_path / "old", [(1, 5, True, 2)], source="correction")
    assert open_pool([root]).source.tolist() == ["intervention"]


def test_demonstrations_of_a_renamed_task_are_those_of_its_present_name(tmp_path):
    demos = write_dataset(tmp_path / "demos", [(i, 30, True, None) for i in range(3)], "expert", task="fork")
    points = VlaConfig(vision=None, language=None, fusion=TruePointsConfig())
    options = {"demos": str(demos), "out": str(tmp_path / "out"), "policy": points, "init_fusion": None}
    check_given(RecapConfig(task="fork", **options))
    with pytest.raises(UserError, match="task=reach, expected reach_around"):
        check_given(RecapConfig(task="reach", **options))
