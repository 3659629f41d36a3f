"""DPO: its pairs and its loss typed out, and what it finds in the toy world."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from outcome_examples import write_dataset
from test_on_policy import batch, imitation  # noqa: F401 - a fixture
from test_toy_world import LIMIT, acting, play

from policies.models import checkpoint
from rl.algorithms import dpo
from rl.algorithms.dpo import BETA, MARGIN, Dpo, Pairs, Preference, preference_loss, preferred
from rl.learning.config import LearningConfig, OnlineConfig
from rl.learning.online import read_log
from rl.learning.policy_gradient import LogRatio
from rl.learning.round import Round


def test_of_two_episodes_of_a_seed_the_better_is_preferred_and_alike_ones_are_no_pair():
    seed = np.array([7, 8, 9, 10, 9, 8, 7])
    returns = np.array([-1.0, -0.4, -0.5, -1.0, -0.5 - MARGIN / 2, -0.3, -0.2])
    assert preferred(returns, seed).tolist() == [[6, 0], [5, 1]]


@pytest.mark.parametrize("better", [0.3, 0.0, -0.4])
def test_the_loss_is_the_log_of_one_and_an_exponential(better):
    """The log-ratio is what these stand-ins of batches hold: `better`, and 0.1."""

    def ratio(held, generator):
        return held + 0 * torch.randn(2, generator=generator)

    pairs = Preference(torch.tensor([better, better]), torch.tensor([0.1, 0.1]))  # pyright: ignore[reportArgumentType]
    loss, parts = preference_loss(ratio)(pairs, torch.Generator())
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-BETA * (better - 0.1))), rel=1e-5)
    assert parts["agreed"].item() == float(better > 0.1)


def test_both_of_a_pair_are_judged_under_the_same_noise():
    drawn = []
    pairs = Preference(torch.zeros(2), torch.zeros(2))  # pyright: ignore[reportArgumentType]
    preference_loss(lambda _, generator: drawn.append(torch.randn(2, generator=generator)) or drawn[-1])(
        pairs, torch.Generator().manual_seed(1)
    )
    assert torch.equal(*drawn)


def test_preferences_lead_from_imitation_towards_the_best_policy(imitation):  # noqa: F811
    """Every episode begins alike, so that any two are a pair."""
    policy, rng, played = copy.deepcopy(imitation), np.random.default_rng(0), play(acting(imitation), 1600, seed=20)
    before = play(acting(policy), 200, seed=2)
    returns = np.where(played.success, -played.length / LIMIT["line"], -1.0)
    pairs, first = preferred(returns, np.tile(np.arange(800), 2)), np.cumsum([0, *played.length])
    loss, generator = preference_loss(LogRatio(policy, copy.deepcopy(imitation))), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(policy.train().requires_grad_().parameters(), 5e-4)
    for _ in range(30):
        drawn = pairs[rng.integers(len(pairs), size=256)]
        rows = first[drawn] + rng.integers(played.length[drawn].min(1))[:, None]
        optimizer.zero_grad()
        loss(Preference(*(batch(played, rows[:, i]) for i in (0, 1))), generator)[0].backward()
        optimizer.step()
    after = play(acting(policy.eval()), 200, seed=2)
    assert after.success.mean() > before.success.mean() + 0.2


def world_by_name(root) -> str:
    return "bright" if root.name in ("bright", "replayed_1") else "dark"


def write_round(tmp_path, monkeypatch) -> tuple[Round, list]:
    """Corrected episodes first, then the policy's own, acted by a checkpoint of their own; what is played again."""
    acted = tmp_path / "acted"
    acted.mkdir()
    (acted / checkpoint.WEIGHTS).touch()
    corrected = write_dataset(tmp_path / "corrected", [(k, 40, True, 20) for k in (5, 1, 2)], "intervention")
    own = write_dataset(tmp_path / "own", [(k, 60, False, None) for k in (1, 2, 3)], behaviour=str(acted))
    played = []

    def again(out, world, behaviour, seeds, config):
        played.append((out.name, world, behaviour.checkpoint, behaviour.draw, list(seeds)))
        return write_dataset(out, [(seed, 50, True, None) for seed in seeds])

    monkeypatch.setattr(dpo, "world_of", lambda roots: None)
    monkeypatch.setattr(dpo, "simulated_world", world_by_name)
    monkeypatch.setattr(dpo, "record_rollouts", again)
    roots, config = [corrected, own], LearningConfig(online=OnlineConfig(episodes=2))
    return Round(1, tmp_path, roots, tmp_path / "pretrained", {"pick_place": 100}, config, roots), played


def test_the_policys_own_episodes_are_paired_with_those_of_who_acted_them(tmp_path, monkeypatch):
    data, played = write_round(tmp_path, monkeypatch)
    found = Dpo().play(data)
    assert played == [("replayed", "dark", str(tmp_path / "acted"), 1, [1, 2])]
    assert found.datasets == [tmp_path / "own", tmp_path / "replayed"]
    assert (found.pool.source == "policy").all()


def test_every_dataset_is_played_again_in_its_own_world_by_who_acted_and_worlds_are_not_compared(tmp_path, monkeypatch):
    """Seed 2 is in both worlds; what acted in the bright one is there no more. Of 4 episodes each origin has 2."""
    data, played = write_round(tmp_path, monkeypatch)
    bright = write_dataset(tmp_path / "bright", [(2, 30, True, None), (4, 70, False, None)], behaviour="gone")
    more = write_dataset(tmp_path / "more", [(0, 30, True, None)], behaviour=str(tmp_path / "acted"))
    config = LearningConfig(online=OnlineConfig(episodes=4))
    roots = [*data.datasets, bright, more]
    found = Dpo().play(Round(1, tmp_path, roots, data.pretrained, {"pick_place": 100}, config, roots))
    assert played == [
        ("replayed", "dark", str(tmp_path / "acted"), 1, [0, 1]),
        ("replayed_1", "bright", str(tmp_path / "pretrained"), 1, [2, 4]),
    ]
    assert [root.name for root in found.datasets] == ["own", "more", "bright", "replayed", "replayed_1"]
    assert read_log(tmp_path)[0]["episodes"] == 4
    monkeypatch.setattr(dpo, "Chunks", lambda *_: None)
    pool = found.pool
    pairs = Pairs(found, SimpleNamespace(config=SimpleNamespace(execute=8))).preferred  # pyright: ignore[reportArgumentType]
    names = np.array([dataset.root.name for dataset in pool.datasets])[pool.dataset]
    assert sorted(zip(pool.seed[pairs[:, 0]].tolist(), names[pairs].tolist(), strict=True)) == [
        (0, ["more", "replayed"]),
        (1, ["replayed", "own"]),
        (2, ["bright", "replayed_1"]),
        (4, ["replayed_1", "bright"]),
    ]


def test_a_corrected_episode_is_no_half_of_a_pair(tmp_path, monkeypatch):
    data, _ = write_round(tmp_path, monkeypatch)
    monkeypatch.setattr(dpo, "Chunks", lambda *_: None)
    write_dataset(tmp_path / "again", [(1, 50, True, None)])
    both = data.part(tmp_path, [*data.datasets, tmp_path / "again"], [])
    pairs = Pairs(both, SimpleNamespace(config=SimpleNamespace(execute=8)))  # pyright: ignore[reportArgumentType]
    assert both.pool.seed[pairs.preferred].tolist() == [[1, 1]]
    assert both.pool.length[pairs.preferred].tolist() == [[50, 60]]
