"""LoRA: what learns and what stays, that an update has the rank that was asked for, that nothing of it is left."""

import builtins
import dataclasses
import re

import pytest
import torch
from learning import QUICK, SPEC, TINY, about, killed_at, random_batch, tiny_model, training_data, write_demos
from programs import ended
from torch import nn

from policies.core.registry import FUSIONS
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.models import checkpoint
from policies.models.vla import Vla
from policies.processing.data import Source
from policies.train import TrainConfig, train
from policies.training.fit import fit
from policies.training.lora import add_updates, merged
from sim.core.errors import UserError

RANK = 3
TRANSFORMER = dataclasses.replace(TINY, fusion=FUSIONS.get("transformer")(width=32, layers=2, readouts=3))
FROZEN_EYE = dataclasses.replace(TINY, fusion=GroundedPointsConfig(width=16, finder=TINY.fusion))
POLICIES = {"keypoints": TINY, "transformer": TRANSFORMER, "frozen eye": FROZEN_EYE}


@pytest.fixture
def demos(tmp_path):
    return write_demos(tmp_path / "demos")


@pytest.fixture
def start(tmp_path, demos):
    checkpoint.save(tmp_path / "start", tiny_model(config=TRANSFORMER), about(demos, tasks=("stack",)))
    return tmp_path / "start"


def updated(config, seed: int = 1) -> Vla:
    """A policy whose updates are no longer zero."""
    policy = tiny_model(config=config)
    add_updates(policy, RANK, seed)
    for name, one in policy.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(one, std=0.1)
    return policy


def chunk(policy: Vla) -> torch.Tensor:
    return policy.eval().act(policy.condense(random_batch().inputs), torch.Generator().manual_seed(0)).chunk


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_begins_as_it_was_and_only_updates_of_its_own_linear_maps_learn(name):
    policy, given = tiny_model(config=POLICIES[name]), tiny_model(config=POLICIES[name])
    add_updates(policy, RANK, seed=0)
    assert torch.equal(chunk(policy), chunk(given))
    frozen = {id(one) for one in given.parameters() if not one.requires_grad}
    maps = [one for one in given.modules() if isinstance(one, nn.Linear) and id(one.weight) not in frozen]
    expected = sum(RANK * (one.in_features + one.out_features) for one in maps)
    assert sum(one.numel() for one in policy.parameters() if one.requires_grad) == expected
    assert not any("lora" in one for one in policy.frozen_weights())


@pytest.mark.parametrize("name", POLICIES)
def test_merged_it_acts_as_before_in_the_parts_it_had(name):
    policy = updated(POLICIES[name])
    before = chunk(policy)
    assert not torch.allclose(before, chunk(tiny_model(config=POLICIES[name])), atol=1e-3)
    policy = merged(policy)
    assert torch.allclose(chunk(policy), before, atol=1e-5)
    plain = POLICIES[name].build(SPEC)
    plain.load_state_dict(policy.state_dict())  # names and shapes of an ordinary policy
    assert torch.allclose(chunk(plain), before, atol=1e-5)


def test_the_seed_alone_draws_the_updates():
    def drawn(seed: int, before: int) -> torch.Tensor:
        policy = tiny_model()
        torch.manual_seed(before)
        add_updates(policy, RANK, seed)
        return torch.cat([one.flatten() for one in policy.parameters() if one.requires_grad])

    assert torch.equal(drawn(0, before=1), drawn(0, before=2)) and not torch.equal(
        drawn(0, before=1), drawn(1, before=1)
    )


def test_a_policy_without_updates_is_left_alone():
    policy = tiny_model()
    parts = dict(policy.named_modules())
    assert merged(policy) is policy and dict(policy.named_modules()) == parts


def test_a_training_changes_every_linear_map_by_the_rank_and_nothing_else(demos, start, tmp_path):
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "out"), init=str(start), lora_rank=RANK, optim=QUICK)
    train(config)
    before, after = checkpoint.load(start)[0], checkpoint.load(tmp_path / "out")[0]
    changes = {n: one - before.state_dict()[n] for n, one in after.state_dict().items()}
    maps = {f"{name}.weight" for name, part in before.named_modules() if isinstance(part, nn.Linear)}
    changed = {name for name, change in changes.items() if change.abs().max() > 0}
    reached = {name for name in maps if "fusion" not in name or "layers" in name}
    assert reached <= changed <= maps
    for name in changed:
        sizes = torch.linalg.svdvals(changes[name].double())
        assert (sizes[RANK:] < 1e-4 * sizes[0]).all()
    assert any(torch.linalg.svdvals(changes[name].double())[RANK - 1] > 1e-4 for name in changed)


def test_what_was_trained_on_is_known_of_start_and_data(demos, start, tmp_path):
    train(TrainConfig(data=(str(demos),), out=str(tmp_path / "out"), init=str(start), lora_rank=1, optim=QUICK))
    assert checkpoint.load(tmp_path / "out")[1].tasks == ("pick_place", "stack")


def test_a_killed_training_goes_on_to_the_same_weights_and_to_no_other_rank(demos, tmp_path):
    data = training_data(Source(demos))

    def trained(name: str, seed: int, rank: int = RANK):
        policy = tiny_model()
        add_updates(policy, rank, seed)
        return fit(policy, data, QUICK, tmp_path / name, about()).state_dict()

    whole = trained("whole", 0)
    with killed_at(6):
        trained("resumed", 0)
    with pytest.raises(UserError, match="begun with another network"):
        trained("resumed", 0, rank=RANK + 1)
    resumed = trained("resumed", 9)  # the updates that it begins with are replaced
    assert whole.keys() == resumed.keys() == tiny_model().state_dict().keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_by_the_command_line(demos, start, tmp_path):
    words = (f"init={start}", f"data={demos}", f"out={tmp_path / 'out'}", "optim.steps=2", "optim.batch=4")
    found = ended("train", *words, "lora_rank=2")
    assert found.code == 0, found.err
    told = re.search(r"rank 2: (\d+) numbers learn beside the (\d+) given, ([\d.]+) %", found.err + found.out)
    given = sum(one.numel() for one in checkpoint.load(start)[0].parameters())
    assert told and int(told[2]) == given and float(told[3]) == pytest.approx(100 * int(told[1]) / given, abs=0.05)


def test_updates_of_nothing_and_a_missing_peft_are_one_line(demos, start, tmp_path, monkeypatch):
    found = ended("train", "lora_rank=8")
    assert found.code == 2 and "lora_rank=8 updates a trained policy: add init=CKPT" in found.err
    found = ended("train", f"init={start}", "lora_rank=-1")
    assert found.code == 2 and "lora_rank=-1" in found.err

    imported = builtins.__import__

    def without_peft(name, *rest, **options):
        if name == "peft":
            raise ModuleNotFoundError("No module named 'peft'")
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    found = ended("train", f"init={start}", f"data={demos}", f"out={tmp_path / 'out'}", "lora_rank=8")
    assert found.code == 2 and "fr3-vla[lora]" in found.err and len(found.err.strip().splitlines()) == 1
