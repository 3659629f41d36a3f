"""A world whose best policy is known in closed form: RECAP finds it from mixed data, imitation does not.

A point on a line starts at 0 and has to pass 0.95. In every step it takes one of three strides; the
longest makes it fall, which is a failure. The best policy takes the middle stride always and arrives
after 10 steps. (The world is deterministic: an advantage cannot tell skill from luck.)
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.flow import FlowConfig
from policies.models.vla import Vla, VlaConfig
from policies.training.optim import OptimConfig
from policies.training.trainer import Trainer
from rl.advantage.labels import advantage_labels
from rl.advantage.targets import LabelConfig, compute_targets
from rl.data.pool import Pool
from rl.value.cross_fit import assign_folds, cross_fit
from rl.value.value_head import ValueConfig

STRIDES, SHARES, FALLS_ABOVE = np.array([0.04, 0.1, 0.2]), (0.6, 0.35, 0.05), 0.15
GOAL, BEST_STEPS, LIMIT = 0.95, 10, {"line": 40}
POLICY = VlaConfig(
    chunk=1, execute=1, vision=None, language=None, fusion=TruePointsConfig(width=16),
    head=FlowConfig(hidden=64, blocks=2, euler_steps=8, noise_samples=2),
)  # fmt: skip
OPTIM = OptimConfig(steps=400, batch=256, learning_rate=3e-3, warmup_steps=20, ema_decay=0.98, threads=1)


@dataclass
class Episodes:
    """Episodes one after the other; n frames of all."""

    x: np.ndarray  # (n,) before the step
    stride: np.ndarray  # (n,) requested
    length: np.ndarray
    success: np.ndarray


def play(choose, episodes: int, seed: int) -> Episodes:
    """Play all episodes in step. choose: (rng, x (B,)) -> strides (B,)."""
    rng, x, running = np.random.default_rng(seed), np.zeros(episodes), np.ones(episodes, bool)
    rows, success = [], np.zeros(episodes, bool)
    for _ in range(LIMIT["line"]):
        stride = choose(rng, x)
        rows += [(e, x[e], stride[e]) for e in np.flatnonzero(running)]
        fell = stride > FALLS_ABOVE
        x = np.where(running & ~fell, x + stride, x)
        success |= running & ~fell & (x > GOAL)
        running &= ~fell & ~success
    owner, places, strides = (np.array(column) for column in zip(*sorted(rows, key=lambda row: row[0]), strict=True))
    return Episodes(places, strides, np.bincount(owner.astype(int), minlength=episodes), success)


def demonstrator(rng, x) -> np.ndarray:
    return rng.choice(STRIDES, len(x), p=SHARES)


def as_pool(data: Episodes) -> Pool:
    e, n = len(data.length), len(data.x)
    return Pool(
        datasets=[], fps=20, dataset=np.zeros(e, int), episode=np.arange(e), length=data.length, success=data.success,
        source=np.full(e, "policy"), task=np.full(e, "line"), seed=np.arange(e), cut_off=np.zeros(e, bool),
        intervention=np.zeros(n, bool),
    )  # fmt: skip


def recap_labels(data: Episodes, fraction: float) -> np.ndarray:
    """bool (n,) by the project's own value and labels."""
    pool, config = as_pool(data), LabelConfig(lookahead_steps=1, positive_fraction=fraction)
    targets = compute_targets(pool, LIMIT, config)
    features = torch.from_numpy(np.column_stack([np.sin(k * data.x) for k in (1, 2, 4, 8)])).float()
    fold = assign_folds(pool.seed, pool.success.astype(int), 3, 0)
    value = ValueConfig(hidden=64, dropout=0.0, batch=256, steps_per_epoch=60, max_epochs=8, learning_rate=2e-3)
    fit = cross_fit(features, targets.values, targets.value_mask, pool.owner, fold[pool.owner], value)
    everything = np.ones(len(data.x), bool)
    return advantage_labels(pool, targets, fit.values, everything, LIMIT, config).positive


def inputs(x: np.ndarray) -> Inputs:
    state = torch.from_numpy(np.column_stack([x, np.zeros_like(x)])).float()
    return Inputs(state, points=torch.zeros(len(x), 1, 3))


def train(data: Episodes, positive: np.ndarray) -> Vla:
    """A policy of the project's own parts; its action is where to be next, and an idle gripper."""
    torch.manual_seed(0)
    policy = Vla(POLICY, PolicySpec("point", (), (0, 0), state_dim=2, action_dim=2, points=("grounding.goal_pos_w",)))
    actions = torch.from_numpy(np.column_stack([data.x + data.stride, np.zeros_like(data.x)])).float()[:, None]
    seen, valid = inputs(data.x), torch.ones(len(data.x), 1, dtype=torch.bool)
    indicator = torch.from_numpy(np.where(positive, int(Indicator.POSITIVE), int(Indicator.NEGATIVE)))
    policy.fit_normalization(actions, valid, seen.state, seen.points)
    trainer, rng = Trainer(policy, policy.loss, OPTIM), np.random.default_rng(0)
    for _ in range(OPTIM.steps):
        rows = torch.from_numpy(rng.integers(len(data.x), size=OPTIM.batch))
        part = Inputs(seen.state[rows], points=seen.points[rows])
        trainer.update(Batch(part, actions[rows], valid[rows], indicator[rows], seen.points[rows]))
    return trainer.averaged()


def acting(policy: Vla, indicator: Indicator = Indicator.POSITIVE, guidance: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    return lambda rng, x: (
        policy.act(inputs(x), generator, indicator, guidance).chunk[:, 0, 0].double().numpy() - x
    ).clip(0.0)


@pytest.fixture(scope="module")
def data() -> Episodes:
    torch.set_num_threads(1)
    return play(demonstrator, 400, seed=1)


@pytest.fixture(scope="module")
def outcome(data):
    """Name -> (success rate, mean steps of a success)."""
    recap = train(data, recap_labels(data, fraction=0.25))
    imitation = train(data, np.ones(len(data.x), bool))
    policies = {
        "imitation": acting(imitation),
        "positive": acting(recap),
        "guided": acting(recap, guidance=2.0),
        "none": acting(recap, Indicator.UNKNOWN),
        "negative": acting(recap, Indicator.NEGATIVE),
    }
    played = {name: play(choose, 200, seed=2) for name, choose in policies.items()}
    return {name: (one.success.mean(), one.length[one.success].mean()) for name, one in played.items()}


def test_the_labels_are_the_best_stride_and_never_the_fall(data):
    positive = recap_labels(data, fraction=0.25)
    assert (data.stride[positive] == 0.1).mean() > 0.75  # 35 % of all
    assert not positive[data.stride > FALLS_ABOVE].any()


def test_imitation_falls_and_dawdles_as_its_teacher(data, outcome):
    success, steps = outcome["imitation"]
    assert success == pytest.approx(data.success.mean(), abs=0.2)
    assert steps == pytest.approx(data.length[data.success].mean(), rel=0.15)


def test_recap_finds_the_best_policy(outcome):
    success, steps = outcome["guided"]
    assert success > 0.98
    assert steps == pytest.approx(BEST_STEPS, rel=0.06)
    assert outcome["positive"][0] > outcome["imitation"][0] + 0.3


def test_success_falls_from_positive_to_none_to_negative(outcome):
    assert outcome["positive"][0] > outcome["none"][0] > outcome["negative"][0]
