"""The program's options, experiments and seeds."""

import pytest

from rl.learning.retrain import batch_shares
from rl.run.options import RecapConfig, check_apart
from sim.core.config import load
from sim.core.errors import UserError


def test_the_file_and_the_schema_have_the_same_defaults():
    assert load("recap", RecapConfig, []) == RecapConfig()


@pytest.mark.parametrize("name", ["demo", "pick_place", "points", "smoke"])
def test_every_experiment_composes(name):
    config = load("recap", RecapConfig, [f"+exp={name}", "rollouts=7"])
    assert config.rollouts == 7
    assert config.out.startswith("runs/")


def test_the_standard_run():
    config = load("recap", RecapConfig, ["+exp=pick_place"])
    assert (config.demo_episodes, config.rollouts, config.interventions, config.rounds) == (500, 300, 60, 1)
    assert config.rollout_seeds(1) == range(500000, 500300)
    assert config.rollout_seeds(2) == range(500300, 500600)
    assert config.ranges["evaluation"] == range(900000, 900300)
    assert config.time_limits["pick_place"] == 300  # 15 s at 20 Hz
    assert (config.demo_share, config.label.positive_fraction, config.guidance) == (0.4, 0.4, 2.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm=recp"], "unknown algorithm 'recp'.*did you mean 'recap'"),
        (["task=stak"], "unknown task 'stak'.*did you mean 'stack'"),
        (["rollout_seed=899800"], "rollouts and evaluation would share seeds"),
        (["demo_seed=499500"], "demonstrations and rollouts would share seeds"),
        (["rollouts=0"], "rollouts=0, expected at least 1"),
        (["demo_share=1.0"], "demo_share"),
        (["value.folds=1"], "value.folds=1, expected at least 2"),
        (["label.convention=C"], "convention"),
        (["rollouts=null"], "rollouts=None is of type NoneType, expected int or a list"),
        (["rollouts=[a,b]", "rounds=2"], r"rollouts=\[a,b\] and rounds=2, expected directories and one round"),
        (["rollouts=[]"], "expected directories"),
        (["rolouts=5"], "did you mean 'rollouts'"),
        (["+exp=pick"], "did you mean 'pick_place'"),
    ],
)
def test_wrong_options_are_one_clear_error(overrides, message):
    with pytest.raises(UserError, match=message):
        load("recap", RecapConfig, overrides)


@pytest.mark.parametrize(("word", "rollouts"), [("7", 7), ("runs/a", ("runs/a",)), ("[runs/a,b]", ("runs/a", "b"))])
def test_rollouts_are_a_number_or_directories(word, rollouts):
    assert load("recap", RecapConfig, [f"rollouts={word}"]).rollouts == rollouts


def test_seeds_next_to_each_other_are_apart():
    check_apart({"a": range(0, 10), "b": range(10, 20)})
    with pytest.raises(UserError, match="a and b would share seeds"):
        check_apart({"a": range(0, 11), "b": range(10, 20)})


def test_demonstrations_keep_their_share_of_a_batch():
    assert batch_shares([100, 300, 100], 0.4) == pytest.approx([0.4, 0.45, 0.15])
    assert batch_shares([800, 150, 50], 0.4) == pytest.approx([0.8, 0.15, 0.05])
    assert batch_shares([10], 0.4) == [1.0]
    assert batch_shares([100, 0, 100], 0.4) == pytest.approx([0.5, 0.0, 0.5])
    assert batch_shares([0, 50, 150], 0.4) == pytest.approx([0.0, 0.25, 0.75])
    assert batch_shares([10, 0], 0.4) == [1.0, 0.0]
