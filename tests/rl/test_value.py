"""The value on planted readings: what it can learn, what it must not remember."""

import numpy as np
import pytest
import torch
from outcome_examples import LIMIT
from scipy.stats import mannwhitneyu, spearmanr

from rl.advantage.labels import LabelConfig, targets
from rl.advantage.returns import BINS
from rl.value.label_quality import auc, auc_at, spearman, value_report
from rl.value.value import CrossFit, ValueConfig, ValueHead, assign_folds, cross_entropy, cross_fit, predict
from rl.value.value_files import load_heads, save_value, weights_hash
from sim.core.errors import UserError

QUICK = ValueConfig(hidden=64, dropout=0.1, batch=128, steps_per_epoch=40, max_epochs=6, learning_rate=2e-3)
EPISODES, LENGTH = 36, 30


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
    """Readings that name the episode: an in-sample value can be perfect, a cross-fitted one knows the place alone."""
    owner, folds, returns, place = episodes
    readings = torch.from_numpy(np.column_stack([3 * one_hot(owner), place])).half()
    torch.set_num_threads(1)
    return cross_fit(readings, returns, np.ones(len(owner), bool), owner, folds, QUICK, seed=1)


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
    import rl.value.value as value

    fit_head = value.fit_head

    def spy(readings, targets, usable, *rest):
        seen.append(set(np.flatnonzero(usable)))
        return fit_head(readings, targets, usable, *rest)

    monkeypatch.setattr(value, "fit_head", spy)
    teaches = np.arange(len(owner)) % 5 != 0
    config = ValueConfig(hidden=8, steps_per_epoch=1, max_epochs=1, batch=8)
    cross_fit(torch.zeros(len(owner), 3), returns, teaches, owner, folds, config)
    for k, frames in enumerate(seen):
        assert frames == set(np.flatnonzero((folds[owner] != k) & teaches))


def test_learns_what_readings_tell(episodes):
    owner, folds, returns, place = episodes
    noise = np.random.default_rng(2).normal(size=(len(owner), 4))
    readings = torch.from_numpy(np.column_stack([returns, place, noise])).float()
    fit = cross_fit(readings, returns, np.ones(len(owner), bool), owner, folds, QUICK)
    assert spearmanr(fit.values, returns).statistic > 0.9
    assert np.abs(fit.values - returns).mean() < 0.05


def test_frames_that_do_not_teach_are_labelled_all_the_same(episodes):
    owner, folds, returns, place = episodes
    teaches = np.arange(len(owner)) % LENGTH < 20
    wrong = np.where(teaches, returns, 0.0)
    fit = cross_fit(torch.from_numpy(np.column_stack([returns, place])).float(), wrong, teaches, owner, folds, QUICK)
    assert (fit.values[~teaches] < 0).all()
    assert fit.values[~teaches].std() > 0


def test_same_seed_same_values(memorizer, episodes):
    owner, folds, returns, place = episodes
    readings = torch.from_numpy(np.column_stack([3 * one_hot(owner), place])).half()
    again = cross_fit(readings, returns, np.ones(len(owner), bool), owner, folds, QUICK, seed=1)
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
    head = ValueHead(3, ValueConfig(hidden=8)).eval()
    readings = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    probabilities = head(readings).softmax(-1).detach().numpy()
    # -0.5 is bin 100 itself; -0.9975 lies halfway between bins 0 and 1
    wanted = [-np.log(probabilities[0, 100]), -0.5 * np.log(probabilities[1, :2]).sum()]
    found = cross_entropy(head, readings, np.array([-0.5, -0.9975])).item()
    assert found == pytest.approx(np.mean(wanted), rel=1e-4)
    assert probabilities.shape == (2, BINS)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(4)
    scores, success = rng.integers(0, 9, 80).astype(float), rng.random(80) < 0.7
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[success] for b in scores[~success]]
    u = mannwhitneyu(scores[success], scores[~success]).statistic
    assert auc(scores, success) == pytest.approx(np.mean(pairs)) == pytest.approx(u / len(pairs))
    assert auc(scores, np.ones(80, bool)) is None
    other = rng.normal(size=80)
    assert spearman(scores, other) == pytest.approx(spearmanr(scores, other).statistic)
    assert spearman(scores, -scores) == pytest.approx(-1.0)
    assert spearman(scores, np.zeros(80)) is None


def test_report_of_a_perfect_value(pool):
    goal = targets(pool, LIMIT, LabelConfig())
    fit = CrossFit([], goal.values, goal.values, [{"train_loss": 1.0, "held_out_loss": 1.5}])
    report = value_report(pool, goal, fit)
    assert report["spearman_held_out"] == pytest.approx(1.0)
    assert report["auc_25"] == report["auc_50"] == report["auc_75"] == report["auc_2s"] == 1.0
    assert report["auc_4s"] is None  # only failures last so long
    assert report["gap"] == 0.5
    assert report["bias_demonstrations"] == report["bias_rollouts"] == 0.0


def test_auc_looks_at_rollouts_alone(pool):
    """Demonstrations all succeed: a value that only tells who acts must score no better than chance."""
    who_acts = np.where(pool.frames(pool.source) == "policy", -0.9, 0.0)
    assert auc_at(pool, who_acts, 0.5) == 0.5


def test_saved_and_loaded_heads_agree(memorizer, episodes, tmp_path):
    save_value(tmp_path, memorizer.heads, QUICK, {"tag": "t"})
    heads = load_heads(tmp_path)
    readings = torch.randn(5, EPISODES + 1, generator=torch.Generator().manual_seed(1))
    for before, after in zip(memorizer.heads, heads, strict=True):
        assert (predict(before, readings) == predict(after, readings)).all()
    assert weights_hash(heads) == weights_hash(memorizer.heads)
    with pytest.raises(UserError, match="holds no value"):
        load_heads(tmp_path / "nowhere")
