"""The value on planted features: what it can learn, what it must not remember."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from outcome_examples import LIMIT, write_dataset
from safetensors.torch import load_file
from scipy.stats import spearmanr

from policies.models.value_head import ValueHead
from rl.advantage.returns import BINS
from rl.advantage.targets import LabelConfig, compute_targets
from rl.data.pool import open_pool
from rl.value import value_head
from rl.value.cross_fit import CrossFit, assign_folds, cross_fit
from rl.value.value_files import METADATA, WEIGHTS, read_metadata, save_value, weights_hash
from rl.value.value_head import ValueConfig, cross_entropy, predict
from rl.value.value_quality import (
    auc,
    auc_after,
    auc_at,
    calibration_error,
    check_outcomes,
    elapsed_time_values,
    spearman,
    value_report,
    value_warnings,
)
from sim.core.errors import UserError

QUICK = ValueConfig(hidden=64, dropout=0.1, batch=128, steps_per_epoch=40, max_epochs=6, learning_rate=2e-3)
EPISODES, LENGTH = 36, 30
HISTORY = [{"train_loss": 1.0, "held_out_loss": 1.5}]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def episodes():
    """owner (N,), folds (E,), returns (N,) that depend on the frame's place and on the episode's luck."""
    owner = np.repeat(np.arange(EPISODES), LENGTH)
    luck = np.random.default_rng(0).uniform(-0.5, 0.0, EPISODES)
    place = np.tile(np.arange(LENGTH) / LENGTH, EPISODES)
    folds = assign_folds(np.arange(EPISODES), np.zeros(EPISODES, int), 3, seed=0)
    return owner, folds, luck[owner] - 0.5 * (1 - place), place


def one_hot(owner: np.ndarray) -> np.ndarray:
    return np.eye(EPISODES)[owner]


@pytest.fixture(scope="module")
def memorizer(episodes):
    """Features that name the episode: an in-sample value can be perfect, a cross-fitted one knows the place alone."""
    owner, folds, returns, place = episodes
    features = torch.from_numpy(np.column_stack([3 * one_hot(owner), place])).half()
    torch.set_num_threads(1)
    return cross_fit(features, returns, np.ones(len(owner), bool), owner, folds[owner], QUICK, seed=1)


def luck_found(values: np.ndarray, episodes) -> float:
    """Rank correlation between the episodes' mean value and their mean return."""
    owner, _, returns, _ = episodes
    means = [np.bincount(owner, weights=x) / LENGTH for x in (values, returns)]
    return float(spearmanr(*means).statistic)


def test_a_cross_fitted_value_cannot_remember_its_own_episodes(memorizer, episodes):
    assert abs(luck_found(memorizer.values, episodes)) < 0.45
    assert luck_found(memorizer.in_sample, episodes) > 0.6


def test_no_head_saw_the_episodes_it_labels(episodes, monkeypatch):
    """Every frame fitted to is recorded; none belongs to the fold that the head labels."""
    owner, folds, returns, _ = episodes
    seen: list[set] = []
    import rl.value.cross_fit as value

    fit_head = value.fit_head

    def spy(features, targets, usable, *rest):
        seen.append(set(np.flatnonzero(usable)))
        return fit_head(features, targets, usable, *rest)

    monkeypatch.setattr(value, "fit_head", spy)
    mask = np.arange(len(owner)) % 5 != 0
    config = ValueConfig(hidden=8, steps_per_epoch=1, max_epochs=1, batch=8)
    cross_fit(torch.zeros(len(owner), 3), returns, mask, owner, folds[owner], config)
    for k, frames in enumerate(seen):
        assert frames == set(np.flatnonzero((folds[owner] != k) & mask))


@pytest.mark.parametrize("share", [0.12, 0.99])
def test_a_head_is_checked_on_layouts_that_it_was_not_fitted_to(share, monkeypatch):
    """A corrected episode begins as the failed one of its seed did; both are fitted to, or neither."""
    seed = np.repeat(np.arange(20) % 10, 5)  # ten layouts, each in two episodes of five frames
    split, train = [], value_head._train
    monkeypatch.setattr(value_head, "_train", lambda *given: split.append(given[3:5]) or train(*given))
    config = ValueConfig(hidden=8, steps_per_epoch=1, max_epochs=1, batch=8, validation_share=share)
    value_head.fit_head(torch.zeros(100, 3), np.full(100, -0.5), np.ones(100, bool), seed, config, 0)
    fitted, checked = ({*seed[rows].tolist()} for rows in split[0])
    assert checked and fitted and fitted | checked == set(range(10)) and not fitted & checked


def test_learns_what_features_tell(episodes):
    owner, folds, returns, place = episodes
    noise = np.random.default_rng(2).normal(size=(len(owner), 4))
    features = torch.from_numpy(np.column_stack([returns, place, noise])).float()
    fit = cross_fit(features, returns, np.ones(len(owner), bool), owner, folds[owner], QUICK)
    assert spearmanr(fit.values, returns).statistic > 0.9
    assert np.abs(fit.values - returns).mean() < 0.05


def test_frames_that_are_not_fitted_to_are_labelled_all_the_same(episodes):
    owner, folds, returns, place = episodes
    mask = np.arange(len(owner)) % LENGTH < 20
    wrong = np.where(mask, returns, 0.0)
    fit = cross_fit(
        torch.from_numpy(np.column_stack([returns, place])).float(), wrong, mask, owner, folds[owner], QUICK
    )
    assert (fit.values[~mask] < 0).all()
    assert fit.values[~mask].std() > 0


def test_same_seed_same_values(memorizer, episodes):
    owner, folds, returns, place = episodes
    features = torch.from_numpy(np.column_stack([3 * one_hot(owner), place])).half()
    again = cross_fit(features, returns, np.ones(len(owner), bool), owner, folds[owner], QUICK, seed=1)
    assert (again.values == memorizer.values).all()


def test_folds_keep_groups_together_and_spread_strata():
    groups = np.array([7, 7, *range(20, 48)])
    strata = np.array([0, 0] + [0, 1] * 14)
    fold = assign_folds(groups, strata, 3, seed=0)
    assert fold[0] == fold[1]
    assert set(fold) == {0, 1, 2}
    failures = [int((fold[strata == 1] == k).sum()) for k in range(3)]
    assert max(failures) - min(failures) <= 1
    with pytest.raises(UserError, match="2 different episodes cannot be split"):
        assign_folds(np.array([1, 1, 2]), np.zeros(3, int), 3, seed=0)


def test_cross_entropy_is_the_definition():
    head = ValueHead(3, 8, BINS).eval()
    features = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    probabilities = head(features).softmax(-1).detach().numpy()
    # -0.5 is bin 100 itself; -0.9975 lies halfway between bins 0 and 1
    wanted = [-np.log(probabilities[0, 100]), -0.5 * np.log(probabilities[1, :2]).sum()]
    found = cross_entropy(head, features, np.array([-0.5, -0.9975])).item()
    assert found == pytest.approx(np.mean(wanted), rel=1e-4)
    assert probabilities.shape == (2, BINS)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(4)
    scores, success = rng.integers(0, 9, 80).astype(float), rng.random(80) < 0.7
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[success] for b in scores[~success]]
    assert auc(scores, success) == pytest.approx(np.mean(pairs))
    assert auc(scores, np.ones(80, bool)) is None
    other = rng.normal(size=80)
    ranks = [
        np.array([np.mean([(x > y) + 0.5 * (x == y) for y in all_of]) for x in all_of]) for all_of in (scores, other)
    ]
    assert spearman(scores, other) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert spearman(scores, -scores) == pytest.approx(-1.0)
    assert spearman(scores, np.zeros(80)) is None


def test_report_of_a_perfect_value(pool):
    goal = compute_targets(pool, LIMIT, LabelConfig())
    fit = CrossFit([], pool.per_frame(pool.seed % 3), goal.values, goal.values, HISTORY)
    report = value_report(pool, goal, fit)
    assert report["spearman_held_out"] == pytest.approx(1.0)
    assert report["auc_25"] == report["auc_50"] == report["auc_75"] == report["auc_2s"] == 1.0
    assert report["auc_4s"] is None  # only failures last so long
    assert report["gap"] == 0.5
    assert report["bias_demonstrations"] == report["bias_rollouts"] == 0.0


def test_auc_leaves_out_what_nobody_judged(pool):
    """Three failures were faults: with values that are wrong for these alone, the others are told apart."""
    faults = np.flatnonzero((pool.source == "policy") & ~pool.success)[:3]
    values = np.where(pool.per_frame(pool.success), 0.0, -0.9)
    values[pool.per_frame(np.isin(np.arange(len(pool.length)), faults))] = 0.5
    cut_off = replace(pool, cut_off=np.isin(np.arange(len(pool.length)), faults))
    assert auc_at(pool, values, 0.5) < auc_at(cut_off, values, 0.5) == 1.0
    assert auc_after(pool, values, 2.0) < auc_after(cut_off, values, 2.0) == 1.0


def test_auc_looks_at_rollouts_alone(pool):
    """Demonstrations all succeed: a value that only tells who acts must score no better than chance."""
    who_acts = np.where(pool.per_frame(pool.source) == "policy", -0.9, 0.0)
    assert auc_at(pool, who_acts, 0.5) == 0.5


def test_a_saved_value_is_the_heads(memorizer, episodes, tmp_path):
    save_value(tmp_path, memorizer.heads, QUICK, {"report": {}})
    tensors = load_file(tmp_path / WEIGHTS)
    features = torch.randn(5, EPISODES + 1, generator=torch.Generator().manual_seed(1))
    for k, head in enumerate(memorizer.heads):
        again = ValueHead(read_metadata(tmp_path)["features"], QUICK.hidden, BINS)
        again.load_state_dict({name[2:]: value for name, value in tensors.items() if name.startswith(f"{k}.")})
        assert (predict(head, features) == predict(again, features)).all()
    assert weights_hash(memorizer.heads) == hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    with pytest.raises(UserError, match="holds no value"):
        read_metadata(tmp_path / "nowhere")
    assert (tmp_path / METADATA).is_file()


def test_elapsed_time_alone_is_the_mean_return_of_other_episodes_then(pool):
    """Oracle: the definition, one frame after the other."""
    goal, frame_fold = compute_targets(pool, LIMIT, LabelConfig()), pool.per_frame(pool.seed % 3)
    values, bins = elapsed_time_values(pool, goal, frame_fold), pool.frame // 10
    for i in np.random.default_rng(0).integers(len(pool.owner), size=40):
        others = goal.value_mask & (frame_fold != frame_fold[i]) & (bins == bins[i])
        if others.any():
            assert values[i] == pytest.approx(goal.values[others].mean())


def test_a_value_that_memorizes_or_reads_the_clock_is_a_warning(pool):
    goal, fold = compute_targets(pool, LIMIT, LabelConfig()), pool.per_frame(pool.seed % 3)
    elapsed = elapsed_time_values(pool, goal, fold)
    good = value_report(pool, goal, CrossFit([], fold, goal.values, goal.values, HISTORY))
    assert value_warnings(good) == []
    clock = value_report(pool, goal, CrossFit([], fold, elapsed, elapsed, HISTORY))
    assert clock["spearman_rollouts"] == clock["spearman_rollouts_elapsed_time"]
    assert [clock[f"auc_{at}"] for at in (25, 50, 75)] == [clock[f"auc_{at}_elapsed_time"] for at in (25, 50, 75)]
    assert good["auc_50_elapsed_time"] == clock["auc_50"] != good["auc_50"]
    assert [line[:34] for line in value_warnings(clock)] == ["the value predicts the return hard"]
    noise = np.random.default_rng(1).uniform(-1, 0, len(elapsed))
    memorized = value_report(pool, goal, CrossFit([], fold, 0.5 * goal.values + 0.5 * noise, goal.values, HISTORY))
    assert any(line.startswith("the value memorizes") for line in value_warnings(memorized))


def test_calibration_is_zero_for_the_truth_and_the_offset_for_a_shifted_value():
    wanted = np.random.default_rng(0).uniform(-1, 0, 500)
    assert calibration_error(wanted, wanted) == 0.0
    assert calibration_error(wanted + 0.1, wanted) == pytest.approx(0.1)
    assert calibration_error(wanted[:5], wanted[:5]) is None


def test_data_without_a_success_is_refused_and_without_a_failure_a_warning(pool, tmp_path):
    assert check_outcomes(pool) == []
    failed = open_pool([write_dataset(tmp_path / "failed", [(i, 20, False, None) for i in range(3)])])
    with pytest.raises(UserError, match="none of the 3 episodes succeeded"):
        check_outcomes(failed)
    good = [(i, 20, True, None) for i in range(4)]
    won = open_pool([write_dataset(tmp_path / "won", good)])
    assert check_outcomes(won) == ["all 4 rollouts succeeded: the value learns speed, not what leads to failure"]
    demos = write_dataset(tmp_path / "demos", good, "expert")
    lost = open_pool([demos, write_dataset(tmp_path / "lost", [(9, 20, False, None)])])
    assert "all 1 rollouts failed" in check_outcomes(lost)[0]
