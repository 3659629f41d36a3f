"""Policy gradients by the loss of the head: their formulas typed out, and what they find in the toy world."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_toy_world import LIMIT, Episodes, acting, demonstrator, inputs, play, train

from policies.core.indicator import Indicator
from policies.core.inputs import Batch
from policies.models.vla import Vla
from rl.algorithms.constrained import ALLOWED, RATE, guarded_shares, lagrangian, multiplier
from rl.algorithms.grpo import group_relative
from rl.algorithms.ire_vla import supervised
from rl.algorithms.ppo import LAMBDA, generalized_advantages
from rl.learning.config import LearningConfig, OnlineConfig
from rl.learning.policy_gradient import CLIP, LogRatio, clipped, divergence, optim
from rl.learning.round import Round


def test_grpos_advantage_is_counted_in_the_groups_standard_deviations():
    """Two draws' datasets of three seeds: (-0.4, -0.2), alike, (-1, -0.4)."""
    found = group_relative(np.array([-0.4, -0.5, -1.0, -0.2, -0.5, -0.4]), 2)
    assert found == pytest.approx([-1, 0, -1, 1, 0, 1])


def test_grpos_advantage_of_one_success_among_eight():
    """Mean -0.9, standard deviation 0.8 * sqrt(7) / 8."""
    found = group_relative(np.array([-1.0] * 7 + [-0.2]), 8)
    assert found == pytest.approx([-0.1 / (0.1 * 7**0.5)] * 7 + [7**0.5])


def test_a_group_that_ended_alike_teaches_exactly_nothing():
    """The mean of three times 0.1 is not 0.1 in binary."""
    alike = np.array([0.1, 0.1, 0.1])
    assert (alike != alike.mean()).any()
    assert (group_relative(alike, 3) == 0).all()


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1 + 2 * CLIP, 2.0, (1 + CLIP) * 2.0, 0.0),  # far enough
        (1 - 2 * CLIP, 2.0, (1 - 2 * CLIP) * 2.0, 2.0),  # on the wrong side: back
        (1 - 2 * CLIP, -2.0, (1 - CLIP) * -2.0, 0.0),
        (1 + 2 * CLIP, -2.0, (1 + 2 * CLIP) * -2.0, -2.0),
    ],
)
def test_the_clipped_objective(ratio, advantage, objective, slope):
    log_ratio = torch.tensor([ratio]).log().requires_grad_()
    loss = clipped(log_ratio, torch.tensor([advantage]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(-objective)
    assert log_ratio.grad.item() == pytest.approx(-slope * ratio)


def test_the_divergence_is_none_where_nothing_changed_and_grows_both_ways():
    found = divergence(torch.tensor([0.0, 0.5, -0.5])).tolist()
    assert found == pytest.approx([0.0, np.exp(-0.5) + 0.5 - 1, np.exp(0.5) - 0.5 - 1])


def test_ppos_advantage_of_three_chunks_and_one_alone():
    """Frames 0, 1 and 2 begin the chunks of one episode, frame 3 that of another."""
    reward, later = np.array([-0.1, -0.2, -0.3, -1.0]), np.array([1, 2, 2, 3])
    found = generalized_advantages(
        reward, later, np.array([True, True, False, False]), np.array([-0.5, -0.6, -0.2, -0.8])
    )
    last, middle, first = -0.3 + 0.2, -0.2 - 0.2 + 0.6, -0.1 - 0.6 + 0.5
    assert found == pytest.approx([first + LAMBDA * (middle + LAMBDA * last), middle + LAMBDA * last, last, -1.0 + 0.8])


def test_the_multiplier_grows_while_the_guard_intervenes_too_often_and_falls_to_none():
    costs = [0.1, 0.1, 0.02, 0.0]
    steps = [RATE * (1 - ALLOWED), RATE * (1 - ALLOWED), 0.0, -RATE * ALLOWED]
    assert [multiplier(costs[: k + 1]) for k in range(4)] == pytest.approx(np.cumsum(steps))
    assert multiplier([0.1, *[0.0] * 20]) == 0.0
    assert multiplier([0.0, 0.0]) == 0.0


def test_the_lagrangians_advantage():
    gain, cost = np.array([1.0, -1.0]), np.array([1.0, -1.0])
    assert lagrangian(gain, cost, 0.0) == pytest.approx([1, -1])
    assert lagrangian(gain, cost, 1.0) == pytest.approx([0, 0])
    assert lagrangian(gain, cost, 3.0) == pytest.approx([-0.5, 0.5])


def test_the_cost_is_the_share_of_steps_with_other_joints_and_the_grippers_clipping_is_none():
    """Of four steps the guard changed a joint in one; in three the gripper was asked to open beyond 1."""
    requested = np.array([[0.1, 0.2, 1.005], [0.1, 0.3, 1.005], [0.1, 0.2, 1.005], [0.1, 0.2, 0.5]])
    action = requested.clip(max=1.0)
    action[1, 1] = 0.25
    episode = {"action": action, "requested_action": requested}
    dataset = SimpleNamespace(num_episodes=1, columns=lambda e, names: {name: episode[name] for name in names})
    pool = SimpleNamespace(datasets=[dataset, dataset])
    assert guarded_shares(pool).tolist() == [0.25, 0.25]  # type: ignore[arg-type]


@pytest.mark.parametrize("updates", [1, 6])
def test_the_gradient_steps_of_a_round_are_shared_by_all_its_fits(updates, tmp_path):
    config, many = LearningConfig(online=OnlineConfig(updates=updates)), 10**6
    steps = config.retrain.steps
    assert optim(config, many, 1).steps == updates * optim(config, many, updates).steps == steps
    data = Round(1, tmp_path, [], tmp_path, {}, config, [])
    second = supervised(data, [data], tmp_path).config.retrain.steps
    assert updates * (optim(config, many, 2 * updates).steps + second) == steps


# ---- in the toy world --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imitation() -> Vla:
    torch.set_num_threads(1)
    data = play(demonstrator, 400, seed=1)
    return train(data, np.ones(len(data.x), bool))


def batch(data: Episodes, rows: np.ndarray) -> Batch:
    x, n = data.x[rows], len(rows)
    actions = torch.from_numpy(np.column_stack([x + data.stride[rows], np.zeros(n)])).float()[:, None]
    seen = inputs(x)
    return Batch(
        seen, actions, torch.ones(n, 1, dtype=torch.bool), torch.full((n,), int(Indicator.POSITIVE)), seen.points
    )


def test_the_stand_in_of_a_ratio_is_one_before_the_first_step_and_the_difference_of_losses_after(imitation):
    policy, data = copy.deepcopy(imitation), batch(play(demonstrator, 4, seed=3), np.arange(20))
    ratio = LogRatio(policy, copy.deepcopy(imitation))
    assert torch.equal(ratio(data, torch.Generator().manual_seed(0)), torch.zeros(len(data.actions)))
    with torch.no_grad():
        policy.get_parameter("head.out.bias").add_(0.3)
        found = ratio(data, torch.Generator().manual_seed(0))
        seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(0)))
        losses = [one.losses(data, torch.Generator().manual_seed(seed)) for one in (imitation, policy)]
    assert torch.equal(found, losses[0] - losses[1])
    assert found.abs().max() > 0.01


def test_group_relative_updates_lead_from_imitation_towards_the_best_policy(imitation):
    """Every episode begins alike, so that all are one group."""
    policy, rng = copy.deepcopy(imitation), np.random.default_rng(0)
    before = play(acting(policy), 200, seed=2)
    for k in range(6):
        played = play(acting(policy), 200, seed=10 + k)
        returns = np.where(played.success, -played.length / LIMIT["line"], -1.0)
        advantage = torch.from_numpy(np.repeat(group_relative(returns, 200), played.length)).float()
        ratio, generator = LogRatio(policy, copy.deepcopy(policy)), torch.Generator().manual_seed(k)
        optimizer = torch.optim.AdamW(policy.train().requires_grad_().parameters(), 5e-4)
        for _ in range(20):
            rows = rng.choice(len(played.x), 256)
            optimizer.zero_grad()
            clipped(ratio(batch(played, rows), generator), advantage[rows]).mean().backward()
            optimizer.step()
        policy.eval()
    after = play(acting(policy), 200, seed=2)
    assert after.success.mean() > before.success.mean() + 0.2
