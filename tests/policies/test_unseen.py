"""What an evaluation must not show: episodes trained on, and held-out things that training may have shown."""

import pytest

from policies.evaluation.leakage import check_seeds, check_split, splits_of
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.randomize.splits import AXES, SplitConfig

TRAIN = plain(SplitConfig())


@pytest.mark.parametrize("seeds", [range(9, 20), range(0, 6), range(6, 8)])
def test_seeds_that_were_trained_on_are_refused(seeds):
    with pytest.raises(UserError, match=r"share episodes with training \(5 to 9\).*seed=900000"):
        check_seeds(seeds, [[100, 200], [5, 9]], free=900000)


def test_seeds_that_are_offered_instead_are_free():
    with pytest.raises(UserError, match=r"begin at another seed, e\.g\. seed=30$"):
        check_seeds(range(5, 15), [[5, 9], [12, 19], [20, 29]], free=5)


def test_seeds_beside_training_are_played():
    check_seeds(range(10, 20), [[5, 9], [20, 30]], free=0)
    check_seeds(range(10, 20), [], free=0)


@pytest.mark.parametrize("axis", AXES)
def test_a_held_out_split_needs_training_that_held_it_out(axis):
    split = SplitConfig(axis)
    check_split(split, [TRAIN, TRAIN], "runs/policy")
    for unknown in ([], [None], [TRAIN, None]):
        with pytest.raises(UserError, match=f"split={axis}: runs/policy does not say"):
            check_split(split, unknown, "runs/policy")
    with pytest.raises(UserError, match="trained under split.part=any, here it is train"):
        check_split(split, [TRAIN, TRAIN | {"part": "any"}], "runs/policy")
    with pytest.raises(UserError, match=r"trained under split.shapes=\['mug'\]"):
        check_split(split, [TRAIN | {"shapes": ["mug"]}], "runs/policy")


def test_the_rest_asks_nothing_of_training():
    for part in ("train", "any"):
        check_split(SplitConfig(part), [None], "runs/policy")


def test_the_split_is_found_in_whatever_was_made():
    assert splits_of({"splits": [TRAIN, None]}) == [TRAIN, None]  # a checkpoint
    assert splits_of({"world": {"task": "stack", "split": TRAIN}}) == [TRAIN]  # a dataset
    assert splits_of({"config": {"split": TRAIN}}) == [TRAIN]  # a backbone
    assert splits_of({"config": {"robot": {}}}) == [None]  # a robot's recording
