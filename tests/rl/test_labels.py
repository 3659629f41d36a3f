"""Labels of whole pools: thresholds, interventions, files."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from outcome_examples import LIMIT, write_dataset

from rl.advantage.labels import advantage_labels, advantages_name, write_labels
from rl.advantage.positive_rates import positive_table
from rl.advantage.targets import LabelConfig, compute_targets
from rl.data.pool import open_pool
from sim.core.errors import UserError
from sim.dataset.reader import read_sidecar, sidecar_provenance

CONFIG = LabelConfig(lookahead_steps=10)


@pytest.fixture(scope="module")
def goal(pool):
    return compute_targets(pool, LIMIT, CONFIG)


@pytest.fixture(scope="module")
def labels(pool, roots, goal):
    noisy = goal.values + np.random.default_rng(0).normal(0, 0.05, len(goal.values))
    return advantage_labels(pool, goal, noisy.clip(-1, 0), pool.in_datasets([roots["rollouts"]]), LIMIT, CONFIG)


def test_returns_of_a_demonstration_a_failure_and_a_corrected_episode(pool, goal):
    demo, failure, corrected = pool.rows(0), pool.rows(12), pool.rows(27)
    assert goal.values[demo] == pytest.approx(np.arange(-39, 1) / 100)
    assert (goal.values[failure] == -1).all()
    assert (goal.values[corrected][:60] == -1).all()
    assert goal.values[corrected][60:] == pytest.approx(np.arange(-29, 1) / 100)
    assert goal.raw[failure][[0, -1]].tolist() == [-199, -100]


def test_the_papers_way_gives_a_mistake_the_return_of_its_correction(pool):
    whole = compute_targets(pool, LIMIT, LabelConfig(interventions="whole"))
    assert whole.values[pool.rows(27)] == pytest.approx(np.arange(-89, 1) / 100)
    assert whole.value_mask.all()


def test_the_positive_rate_is_f_on_the_newest_rollouts(pool, roots, labels):
    assert labels.positive[pool.in_datasets([roots["rollouts"]])].mean() == pytest.approx(0.4, abs=0.01)
    assert labels.epsilons.keys() == {"pick_place"}


def test_interventions_are_positive_and_what_led_to_them_is_not(pool, labels):
    assert labels.positive[pool.intervention].all()
    assert labels.positive[pool.rows(27)][:60].mean() < 0.1  # by noise, and where nothing is left to lose


def test_a_corrected_episode_that_failed_is_no_example(roots, tmp_path):
    """As the robot records it, where every episode is kept."""
    episodes = [(900, 90, False, 60), (901, 90, True, 60)]
    failed = write_dataset(tmp_path / "failed", episodes, "intervention")
    pool = open_pool([*roots.values(), failed])
    goal = compute_targets(pool, LIMIT, CONFIG)
    labels = advantage_labels(
        pool, goal, np.full(len(pool.owner), -0.5), pool.in_datasets([roots["rollouts"]]), LIMIT, CONFIG
    )
    lost, won = pool.rows(32), pool.rows(33)
    assert pool.intervention[lost][60:].all() and pool.intervention[won][60:].all()
    assert labels.positive[won][60:].all()
    assert not labels.positive[lost][80:].any()  # where the failure is in sight
    # Judged, not condemned: a frame that did better than expected is positive as anybody's.
    assert (labels.positive[lost] == (labels.advantages[lost] > labels.epsilons["pick_place"])).all()


def test_interventions_do_not_move_the_threshold(pool, roots, goal, labels):
    """Neither their values nor whether they are there at all."""
    poisoned = np.where(pool.per_frame(pool.source) == "intervention", -0.5, labels.values)
    again = advantage_labels(pool, goal, poisoned, pool.in_datasets([roots["rollouts"]]), LIMIT, CONFIG)
    assert again.epsilons == labels.epsilons


def test_failures_are_seldom_positive(pool, labels):
    rates = {(row["by"], row["group"]): row["positive"] for row in positive_table(pool, labels.positive)}
    assert rates["outcome", "failure"] < 0.15 < rates["outcome", "success"]
    assert rates["source", "intervention frames"] == 1.0
    assert ("tenths to the end", "9") in rates
    assert ("source and outcome", "policy failure") in rates


def test_rates_are_of_episodes_with_an_outcome(pool):
    """All failures but one are cut off, and every frame of that one is positive."""
    failures = np.flatnonzero(~pool.success)
    cut_off = replace(pool, cut_off=np.isin(np.arange(len(pool.length)), failures[1:]))
    positive = pool.per_frame(np.arange(len(pool.length)) == failures[0])
    rows = {(row["by"], row["group"]): row for row in positive_table(cut_off, positive)}
    assert rows["outcome", "failure"]["frames"] == pool.length[failures[0]]
    assert rows["outcome", "failure"]["positive"] == 1.0


def test_no_rollouts_no_threshold(pool, goal):
    with pytest.raises(UserError, match="no rollouts of task 'pick_place'"):
        advantage_labels(pool, goal, goal.values, np.zeros(len(pool.owner), bool), LIMIT, CONFIG)


def test_written_beside_the_data_and_nothing_else_is_touched(tmp_path):
    root = write_dataset(tmp_path / "data", [(i, 20 + i, i % 2 == 0, None) for i in range(6)])
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}
    pool = open_pool([root])
    goal = compute_targets(pool, LIMIT, CONFIG)
    labels = advantage_labels(
        pool, goal, np.linspace(-1, 0, len(pool.owner)), np.ones(len(pool.owner), bool), LIMIT, CONFIG
    )
    write_labels(pool, goal, labels, "t1", {"value_sha256": "abc"})
    assert before == {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in before}
    rows = read_sidecar(root, advantages_name("t1"))
    assert (rows["weight"] == 1).all()
    assert (rows["advantage"] == labels.positive).all()
    assert rows["advantage_continuous"] == pytest.approx(labels.advantages, abs=1e-6)
    assert (rows["episode_index"] == pool.owner).all()
    assert (rows["frame_index"] == pool.frame).all()
    assert read_sidecar(root, "returns_t1")["return"] == pytest.approx(goal.raw)
    assert set(read_sidecar(root, "returns_t1")["prompt"]) == {"put it there"}
    about = sidecar_provenance(root, advantages_name("t1"))
    assert about["value_sha256"] == "abc"
    assert about["epsilon"] == labels.epsilons
    assert about["dataset"] == pool.datasets[0].fingerprint()


@pytest.mark.parametrize("wrong", [{"convention": "C"}, {"interventions": "off"}, {"positive_fraction": 1.5}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UserError):
        LabelConfig(**wrong)


def test_a_dataset_of_an_unknown_task(tmp_path):
    root = write_dataset(tmp_path / "data", [(1, 20, True, None)], task="")
    with pytest.raises(UserError, match="unknown task of a dataset ''"):
        compute_targets(open_pool([root]), LIMIT, CONFIG)


def test_a_fail_cost_below_the_time_limit_is_refused(pool):
    with pytest.raises(UserError, match="fail_cost is 5"):
        compute_targets(pool, LIMIT, LabelConfig(fail_cost=5.0))
