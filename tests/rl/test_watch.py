"""The alarm of a falling value: its threshold, what it catches, and the whole way from rollouts to an evaluation."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from programs import ended
from test_recorded import Recording, save_policy

from policies.models.watch import LOOKS, load_watch
from rl.advantage.returns import Convention, ReturnScale, normalize
from rl.data.pool import Pool
from rl.value.alarm import SHARES, Watched, watched
from rl.watch import with_task
from sim.collect import CollectConfig, collect
from sim.core.errors import UserError

EXECUTE, LIMIT, FPS = 8, 200, 20
FITTED = ("value.folds=2", "value.hidden=8", "value.batch=16", "value.steps_per_epoch=1", "value.max_epochs=1")


def pool_of(lengths: list[int], success: list[bool], source: str = "policy") -> Pool:
    e = len(lengths)
    return Pool(
        datasets=[], fps=FPS, dataset=np.zeros(e, int), episode=np.arange(e), length=np.array(lengths),
        success=np.array(success), source=np.full(e, source), task=np.full(e, "line"), seed=np.arange(e),
        cut_off=np.zeros(e, bool), intervention=np.zeros(sum(lengths), bool),
    )  # fmt: skip


@pytest.fixture(scope="module")
def lost():
    """40 successes of 40 to 118 steps and 5 failures that are lost from step 48 on, and the value that knows it all."""
    lengths = [*range(40, 120, 2), *[LIMIT] * 5]
    pool = pool_of(lengths, [True] * 40 + [False] * 5)
    to_go = np.concatenate([np.arange(n, 0, -1) for n in lengths]) / LIMIT
    values = np.where(pool.per_frame(~pool.success) & (pool.frame >= 48), -1.0, -np.where(to_go > 0.45, 0.45, to_go))
    return pool, values


def test_a_value_that_knows_catches_what_is_lost_as_early_as_its_mean_allows(lost):
    """The forecast of a success is its length, of a failure -0.45 minus elapsed time, then -1 minus elapsed time."""
    by_value, by_clock = watched(*lost, EXECUTE, ReturnScale(LIMIT))
    row = by_value.row(0.0)
    slowest = 118 / LIMIT
    assert row["threshold"] == pytest.approx(-slowest, abs=EXECUTE / LIMIT)
    looks = np.arange(0, LIMIT, EXECUTE)
    forecast = np.where(looks < 48, -0.45, -1.0) - looks / LIMIT
    mean = np.array([forecast[max(0, i - LOOKS + 1) : i + 1].mean() for i in range(len(looks))])
    first = looks[np.flatnonzero(mean < row["threshold"])[0]]
    assert first < 48 + EXECUTE * LOOKS
    assert (row["caught"], row["failures"]) == (1.0, 5)
    assert row["left_s"] == pytest.approx((LIMIT - first) / FPS)
    clock = by_clock.row(0.0)
    assert (clock["caught"], clock["threshold"]) == (1.0, -112.0)  # the last look of the slowest success
    assert clock["left_s"] == pytest.approx((LIMIT - 120) / FPS) and clock["left_s"] < row["left_s"]


def test_the_unit_of_the_value_does_not_matter_where_it_is_right():
    """Convention B divides by time limit and cost of a failure: of successes forecasts and thresholds are the same."""
    lengths = [*range(40, 120, 2)]
    pool = pool_of(lengths, [True] * 40)
    raw = -np.concatenate([np.arange(n, 0, -1) for n in lengths])
    scales = ReturnScale(LIMIT), ReturnScale(LIMIT, 3 * LIMIT, Convention.B)
    a, b = (watched(pool, normalize(raw, scale), EXECUTE, scale)[0] for scale in scales)
    for found in (a, b):
        assert [one.tolist() for one in found.scores] == [
            pytest.approx([-n / LIMIT] * -(-n // EXECUTE)) for n in lengths
        ]
    assert b.threshold(0.1) == pytest.approx(a.threshold(0.1))


@pytest.mark.parametrize("share", SHARES)
def test_no_more_than_the_share_of_the_successes_is_stopped(share):
    rng = np.random.default_rng(0)
    lengths = rng.integers(40, LIMIT, 150).tolist()
    pool = pool_of(lengths, (rng.random(150) < 0.8).tolist())
    found, _ = watched(pool, rng.uniform(-1, 0, sum(lengths)), EXECUTE, ReturnScale(LIMIT))
    threshold = found.threshold(share)
    lowest = np.array([one.min() for one in found.scores])[found.success]
    assert (lowest < threshold).mean() <= share
    assert (lowest <= threshold).mean() > share  # the next higher one would stop more


@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_is_the_highest_of_all_that_stop_no_more_than_the_share(ties):
    """Counted out, with shares that are whole numbers of the successes too; an alarm is strictly below."""
    rng = np.random.default_rng(1)
    for n in (1, 2, 10, 20, 30):
        lowest = rng.integers(-6, 0, n) / 8 if ties else rng.uniform(-1, 0, n)
        found = Watched([np.array([0.0, one]) for one in lowest], np.ones(n, bool), [np.zeros(2)] * n)
        for tenth in range(11):
            allowed = [one for one in lowest if 10 * sum(lowest < one) <= tenth * n]
            assert found.threshold(tenth / 10) == max(allowed)


def test_an_episode_that_a_fault_cut_off_is_no_failure(lost):
    pool, values = lost
    cut_off = np.arange(len(pool.length)) >= 43  # the last two of the five that do not succeed
    found = watched(dataclasses.replace(pool, cut_off=cut_off), values, EXECUTE, ReturnScale(LIMIT))
    assert [(len(one.scores), one.row(0.0)["failures"]) for one in found] == [(43, 3)] * 2


def test_demonstrations_set_no_threshold(lost):
    pool, values = lost
    with pytest.raises(UserError, match="none of the 0 rollouts succeeded"):
        watched(pool_of(pool.length.tolist(), pool.success.tolist(), "expert"), values, EXECUTE, ReturnScale(LIMIT))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A policy and six episodes that pass for its own, four of them successes."""
    folder = tmp_path_factory.mktemp("watched")
    good = CollectConfig(task="reach", episodes=6, seed=500000, out=str(folder / "good"), workers=1, images=False)
    recording = Recording([collect(good)], save_policy(folder / "policy"))
    return recording.policy, recording.write(folder / "rollouts", success=(True, True, True, True, False, False))


def test_from_rollouts_to_an_evaluation_on_the_command_line(recorded, tmp_path):
    policy, rollouts = recorded
    words = f"checkpoint={policy}", "task=reach", "episodes=2", "videos=0", "workers=1"
    found = ended("evaluate", *words, "watch=true", f"out={tmp_path / 'none'}")
    assert (found.code, found.err.count("\n")) == (2, 1) and "has no watch; python -m rl.watch" in found.err
    found = ended("watch", f"checkpoint={policy}", f"rollouts=[{rollouts}]", "false_alarms=0.5", "workers=1", *FITTED,
                  "label.convention=B")  # fmt: skip
    assert found.code == 0, found.err
    about = json.loads((policy / "watch.json").read_text())
    assert about["rollouts"] == 6 and about["rows"][0]["failures"] == 2
    watch = load_watch(policy)
    assert (watch.alarm.limit_steps, watch.alarm.grasps, watch.alarm.steps_per_unit) == (80, False, 160)
    assert ended("evaluate", *words, f"out={tmp_path / 'plain'}").code == 0
    content = {**about, "alarm": {**about["alarm"], "threshold": 0.0}}  # alarmed at once
    (policy / "watch.json").write_text(json.dumps(content))
    assert ended("evaluate", *words, "watch=true", f"out={tmp_path / 'on'}").code == 0
    found = ended("evaluate", *words, "watch=true", "seed=500004", f"out={tmp_path / 'fitted'}")
    assert found.code == 2 and "share episodes with training (500000 to 500005)" in found.err
    assert ended("evaluate", *words, "seed=500004", f"out={tmp_path / 'without'}").code == 0
    plain, on = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("plain", "on"))
    assert "alarmed" not in plain and "alarms" not in plain["episodes"][0]
    assert on["alarmed"] == on["asked_for_help"] == 2
    assert [[one["response"] for one in episode["alarms"]] for episode in on["episodes"]] == [["retreat", "help"]] * 2


def test_rollouts_of_another_task_are_one_line(recorded):
    policy, rollouts = recorded
    found = ended("watch", f"checkpoint={policy}", f"rollouts=[{rollouts}/none]")
    assert (found.code, found.err.count("\n")) == (2, 1)


def test_rollouts_that_do_not_say_their_task_are_of_the_policy_s_only_one(lost):
    pool, _ = lost
    silent = dataclasses.replace(pool, task=np.full(len(pool.task), ""), datasets=[SimpleNamespace(root="runs/robot")])
    assert with_task(pool, ("push", "stack")) is pool
    assert set(with_task(silent, ("push",)).task) == {"push"}
    with pytest.raises(UserError, match="runs/robot does not say its task, and the policy was trained on 2; expected"):
        with_task(silent, ("push", "stack"))
