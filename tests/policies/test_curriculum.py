"""A curriculum: shares at typed-out numbers, batches of what is in, the same ones after a resume."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import QUICK, SPEC, TINY, killed_at, training_data, write_demos
from programs import ended
from torch import Tensor

from policies.core.interface import Policy
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.processing.data import Source
from policies.train import TrainConfig, train
from policies.training.curriculum import Curriculum
from sim.core.errors import UserError

POINTS = dataclasses.replace(TINY, fusion=TruePointsConfig(width=16))


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("curriculum")
    return tuple(str(write_demos(root / name, (length,))) for name, length in (("a", 6), ("b", 9), ("c", 15)))


@pytest.fixture(scope="module")
def data(roots):
    """Shares by frames: 0.2, 0.3, 0.5."""
    return training_data(*map(Source, roots), policy=POINTS.build(SPEC))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [1.0, 0.0, 0.0]),
        (25, [0.85, 0.15, 0.0]),
        (50, [0.7, 0.3, 0.0]),
        (75, [0.45, 0.3, 0.25]),
        (100, [0.2, 0.3, 0.5]),
        (400, [0.2, 0.3, 0.5]),
    ],
)
def test_datasets_come_in_one_after_another_at_an_even_pace(data, step, expected):
    assert Curriculum(data, [0, 1, 2], 100).shares(step) == pytest.approx(expected)


def test_the_order_is_the_one_given_and_one_step_is_enough(data):
    assert Curriculum(data, [2, 0, 1], 100).shares(25) == pytest.approx([0.1, 0.0, 0.9])
    assert Curriculum(data, [2, 0, 1], 0.5).shares(0) == pytest.approx([0.0, 0.0, 1.0])
    assert Curriculum(data, [2, 0, 1], 0.5).shares(1) == pytest.approx([0.2, 0.3, 0.5])


def test_a_batch_is_of_what_is_in_at_its_step(data):
    step = 0
    draw = Curriculum(data, [1, 0, 2], 100).at(lambda: step)

    def share(own: np.ndarray) -> float:
        """The share of a batch that is at states that one dataset alone has."""
        seen = draw(np.random.default_rng(0), 2000).inputs.state.numpy()
        return float((seen[:, None] == own).all(2).any(1).mean())

    second, third = data.tables[1].state, data.tables[2].state[9:]  # gliding alike, the third goes on for longest
    assert share(second) == 1.0 and share(third) == 0.0
    step = 100
    assert share(third) == pytest.approx(0.5 * 6 / 15, abs=0.04)


def options(roots, out, **changes) -> TrainConfig:
    return TrainConfig(roots, str(out), POINTS, QUICK, init_fusion=None, **{"curriculum": 0.75, **changes})


def weights_of(policy: Policy) -> list[Tensor]:
    return list(policy.state_dict().values())


def alike(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_a_resumed_training_draws_what_it_would_have_drawn(roots, tmp_path, monkeypatch):
    steps = []
    shares = Curriculum.shares
    monkeypatch.setattr(Curriculum, "shares", lambda self, step: steps.append(step) or shares(self, step))
    whole = weights_of(train(options(roots, tmp_path / "whole")))
    assert steps == list(range(12))
    with killed_at(6):
        train(options(roots, tmp_path / "out"))
    for other in ({"curriculum": 0.5}, {"curriculum": None}):
        with pytest.raises(UserError, match="begun with other data, or draws of them"):
            train(options(roots, tmp_path / "out", **other))
    with pytest.raises(UserError, match="begun with other data, or draws of them"):
        train(options(roots[::-1], tmp_path / "out"))
    steps.clear()
    resumed = weights_of(train(options(roots, tmp_path / "out")))
    assert steps == list(range(4, 12))
    assert alike(whole, resumed)


def test_it_changes_what_is_learned_and_without_it_the_order_does_not(roots, tmp_path):
    def weights(name: str, order, curriculum):
        return weights_of(train(options(order, tmp_path / name, curriculum=curriculum)))

    plain, back = weights("plain", roots, None), weights("back", roots[::-1], None)
    paced, paced_back = weights("paced", roots, 0.75), weights("paced_back", roots[::-1], 0.75)
    assert alike(plain, back) and not alike(plain, paced) and not alike(paced, paced_back)


def test_by_the_command_line(roots, tmp_path):
    words = ("policy=points", "policy.head.hidden=16", "init_fusion=null", "optim.steps=4", "optim.batch=8",
             "optim.threads=1")  # fmt: skip
    found = ended("train", f"data=[{','.join(roots)}]", f"out={tmp_path / 'out'}", "curriculum=0.5", *words)
    assert found.code == 0, found.err
    assert checkpoint.load(tmp_path / "out")[1].provenance["config"]["curriculum"] == 0.5


@pytest.mark.parametrize("value", ["0", "1.01", "-1", "nan"])
def test_no_part_of_the_steps_and_one_dataset_are_one_line(value):
    found = ended("train", "data=[a,b]", f"curriculum={value}")
    assert found.code == 2 and f"curriculum={value}" in found.err and len(found.err.strip().splitlines()) == 1
    found = ended("train", "data=a", "curriculum=0.5")
    assert found.code == 2 and "curriculum=0.5 data=[a], expected data=[EASY,HARD]" in found.err
