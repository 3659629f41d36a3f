"""Merging: every weight lies where arithmetic says; what is known of both is kept; what does not fit is one line."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import TINY, about, tiny_model, write_demos

from policies.evaluation.leakage import check_split
from policies.merge import MergeConfig, merge
from policies.models import checkpoint
from policies.train import TrainConfig, train
from policies.training.optim import OptimConfig
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.randomize.splits import AXES, SplitConfig

OLD = {"tasks": ("pick_place",), "provenance": {"data": {"a": "1"}, "seeds": [[0, 9]], "splits": []}}
NEW = {"tasks": ("stack",), "provenance": {"data": {"b": "2"}, "seeds": [[0, 9], [20, 29]], "splits": []}}


@pytest.fixture
def save(tmp_path):
    def save(name: str, seed: int, change=None, config=TINY, **metadata) -> str:
        policy = tiny_model(seed, config)
        if change:
            change(policy)
        checkpoint.save(tmp_path / name, policy, about(**metadata))
        return str(tmp_path / name)

    return save


def test_every_weight_is_the_weighted_mean(save, tmp_path):
    roots = [save(name, seed) for seed, name in enumerate("abc")]
    merge(MergeConfig(tuple(roots), (0.2, 0.3, 0.5), str(tmp_path / "out")))
    *states, found = (checkpoint.load(root)[0].state_dict() for root in (*roots, tmp_path / "out"))
    moved = 0
    for name, value in found.items():
        a, b, c = (state[name].numpy().astype(float) for state in states)
        assert np.allclose(value.numpy(), 0.2 * a + 0.3 * b + 0.5 * c, atol=1e-6), name
        moved += not np.array_equal(a, c)
    assert moved > 10  # else nothing was tested


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_all_the_weight_on_one_is_that_one(save, tmp_path, weights):
    roots = (save("a", 0), save("b", 1))
    merged = merge(MergeConfig(roots, weights, str(tmp_path / "out"))).state_dict()
    chosen = checkpoint.load(roots[weights.index(1.0)])[0].state_dict()
    assert all(torch.allclose(value, chosen[name], atol=1e-6) for name, value in merged.items())


def louder(policy) -> None:
    policy.head.out.weight.data *= 2


def test_what_was_not_learned_anew_stays_to_the_bit(save, tmp_path):
    roots = (save("a", 0), save("b", 0, louder))
    before = checkpoint.load(roots[0])[0].state_dict()
    after = merge(MergeConfig(roots, (0.3, 0.7), str(tmp_path / "out"))).state_dict()
    assert [name for name, value in after.items() if not torch.equal(value, before[name])] == ["head.out.weight"]


def test_what_is_known_of_both_is_kept(save, tmp_path):
    roots = (save("a", 0, **OLD), save("b", 1, **NEW))
    merge(MergeConfig(roots, (0.25, 0.75), str(tmp_path / "out")))
    _, metadata = checkpoint.load(tmp_path / "out")
    assert metadata.tasks == ("pick_place", "stack")
    made = metadata.provenance
    assert made["data"] == {"a": "1", "b": "2"} and made["seeds"] == [[0, 9], [20, 29]]
    assert made["config"]["weights"] == [0.25, 0.75] and made["config"]["checkpoints"] == list(roots)


def test_a_policy_of_unknown_tasks_leaves_them_unknown(save, tmp_path):
    merge(MergeConfig((save("a", 0, tasks=()), save("b", 1)), out=str(tmp_path / "out")))
    assert checkpoint.load(tmp_path / "out")[1].tasks == ()


def shift(policy) -> None:
    policy.normalizer.mean += 0.1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"config": dataclasses.replace(TINY, execute=1)}, "are of other parts, sizes or robots"),
        ({"vision": "another"}, "other frozen encoders"),
        ({"guidance": 2.0}, "are played with guidance 1 and 2; expected one"),
        ({"change": shift}, r"normalize otherwise; expected policies that went on from one another \(init=CKPT\)"),
    ],
)
def test_what_does_not_fit_together_is_one_line(save, tmp_path, other, said):
    roots = (save("a", 0), save("b", 1, **other))
    with pytest.raises(UserError, match=said):
        merge(MergeConfig(roots, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_finished_checkpoint_and_networks_beside_one_are_left_alone(save, tmp_path):
    roots = (save("a", 0), save("b", 1))
    with pytest.raises(UserError, match="holds a finished checkpoint"):
        merge(MergeConfig(roots, out=roots[1]))
    (tmp_path / "a" / "critic.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="has critic beside it"):
        merge(MergeConfig(roots, out=str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"checkpoints": ("a",), "weights": (1.0,)}, "expected two checkpoints or more"),
        (
            {"checkpoints": ("a", "b"), "weights": (1.0,)},
            r"weights=\[1\]: expected two .* a weight for each",
        ),
        ({"checkpoints": ("a", "b"), "weights": (0.5, 0.6)}, "expected weights that add up to 1"),
        ({"checkpoints": ("a", "b"), "weights": (-0.5, 1.5)}, "weights="),
        ({"checkpoints": ("a", "a"), "weights": (0.5, 0.5)}, "expected each once"),
    ],
)
def test_weights_that_make_no_mean_are_one_line(given, said):
    with pytest.raises(UserError, match=said):
        MergeConfig(**given)


def test_of_a_policy_that_does_not_say_its_split_nothing_is_known_to_be_held_out(save, tmp_path):
    known = {"data": {}, "splits": [plain(SplitConfig("train"))]}
    roots = (save("a", 0, provenance=known), save("b", 1, provenance={"data": {}}))
    merge(MergeConfig(roots, out=str(tmp_path / "out")))
    splits = checkpoint.load(tmp_path / "out")[1].provenance["splits"]
    assert splits == [*known["splits"], None]
    with pytest.raises(UserError, match="does not say that what it learned from was held out"):
        check_split(SplitConfig(AXES[0]), splits, "out")


def test_a_policy_that_was_trained_on_is_played_with_its_guidance_and_can_be_merged_back(save, tmp_path):
    demos = write_demos(tmp_path / "demos")
    old, new = save("old", 0, guidance=3.0), str(tmp_path / "new")
    brief = OptimConfig(steps=2, batch=4, warmup_steps=1, threads=1)
    train(TrainConfig((str(demos),), new, policy=TINY, init=old, optim=brief))
    assert checkpoint.load(new)[1].guidance == 3.0
    merge(MergeConfig((old, new), out=str(tmp_path / "out")))
    assert checkpoint.load(tmp_path / "out")[1].guidance == 3.0
