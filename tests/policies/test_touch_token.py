"""Touch as a token: what training and acting read, that actions follow it, and who is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, learn, random_batch, recorded_look, tiny_model, training_data, write_demos

from policies.core.inputs import Batch
from policies.export.whole_policy import WholePolicy
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.regression import RegressionConfig
from policies.models.touch_token import UNITS, TouchToken
from policies.models.vla import VlaConfig
from policies.processing.data import Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.remote.policy_session import check_served
from policies.runtime.decider import Conditioning, Decider
from sim.core.contract import TOUCH_COLUMN, TOUCH_NAMES
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter, Episode

TOUCH = dataclasses.replace(TINY, touch=True)
FELT = np.float32([40.0, 1.0, -2.0, 3.0, 0.1, 0.2, -0.3])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_demos(tmp_path_factory.mktemp("touch") / "demos")


@pytest.fixture
def data(root) -> TrainingData:
    return training_data(Source(root), policy=tiny_model(config=TOUCH))


def without(root: Path, out: Path, frames: slice | None) -> Path:
    """A copy of a dataset without the column (None), or that does not know it at these frames."""
    dataset = Dataset(root)
    kept = {name: one for name, one in dataset.features.columns.items() if frames or name != TOUCH_COLUMN}
    schema = dataclasses.replace(dataset.features, columns=kept)
    with DatasetWriter(out, schema, dataset.fps, str(dataset.info["robot_type"]), dataset.provenance) as writer:
        for i in range(dataset.num_episodes):
            columns = {name: values.copy() for name, values in dataset.columns(i, list(kept)).items()}
            if frames and i == 1:
                columns[TOUCH_COLUMN][frames] = np.nan
            images = {camera: dataset.images(i, camera) for camera in dataset.features.cameras}
            writer.commit(Episode(columns, dataset.instruction(i), images, dataset.episode_metadata(i)))
    return out


# ---- what it is made of --------------------------------------------------------------------------


def test_the_token_is_linear_in_the_arsinh_of_each_number():
    token, felt = TouchToken(4), torch.from_numpy(FELT)[None]
    expected = torch.asinh(felt / torch.tensor(UNITS)) @ token.linear.weight.T + token.linear.bias
    torch.testing.assert_close(token(felt), expected)
    large = TouchToken(1)
    with torch.no_grad():
        large.linear.weight.copy_(torch.eye(7)[:1])
    step = large(torch.tensor([[4e4] + [0.0] * 6])) - large(torch.tensor([[2e4] + [0.0] * 6]))
    assert step.item() == pytest.approx(np.log(2), rel=1e-3)  # logarithmic above its unit


def test_a_sample_holds_what_was_felt_at_its_own_frame(data):
    batch = data.batch(0, np.array([0, 3, 9 + 13]))  # frames 0 and 3 of episode 0, 13 of episode 1
    expected = np.outer([0, 3, 13], np.arange(1, 1 + len(TOUCH_NAMES)))
    np.testing.assert_array_equal(batch.inputs.touch, expected)


def test_with_an_old_look_it_is_of_the_present(root):
    data = training_data(Source(root), policy=tiny_model(config=dataclasses.replace(TOUCH, look_age=3)))
    inputs = data.batch(0, np.array([7]), age=np.array([3])).inputs
    assert inputs.touch is not None and inputs.looked_from is not None
    assert inputs.touch[0, 0] == 7 and torch.equal(inputs.looked_from[0], torch.from_numpy(data.tables[0].state[4]))


def test_a_policy_without_it_gets_none(root):
    assert training_data(Source(root)).batch(0, np.arange(3)).inputs.touch is None


# ---- that it matters -----------------------------------------------------------------------------


def felt_batch(generator: torch.Generator) -> Batch:
    """Nothing but the sideways force says where to go."""
    size = 64
    batch = random_batch(size)
    force = torch.rand(size, generator=generator) * 20 - 10
    touch = torch.zeros(size, 7)
    touch[:, 1] = force
    same = [one[:1].expand(size, *one.shape[1:]) for one in (batch.inputs.state, batch.points)]
    inputs = dataclasses.replace(batch.inputs, maps={}, words=None, word_mask=None, state=same[0], touch=touch)
    inputs.points, inputs.turn = same[1], torch.zeros(size, 2, 4)
    actions = inputs.state[:, None] + 0.05 * force.sign()[:, None, None].expand(size, TINY.chunk, 7)
    return dataclasses.replace(batch, inputs=inputs, actions=actions, points=same[1])


@pytest.mark.parametrize("touch", [True, False])
def test_a_policy_learns_to_yield_to_the_force_that_it_feels_and_only_then(touch):
    torch.manual_seed(0)
    fusion, head = TruePointsConfig(width=16), RegressionConfig(hidden=64, blocks=1)
    config = VlaConfig(chunk=4, execute=2, fusion=fusion, head=head, touch=touch)
    policy, generator = config.build(SPEC), torch.Generator().manual_seed(0)
    batch = felt_batch(generator)
    policy.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    learn(policy, lambda: felt_batch(generator), generator, steps=40, rate=1e-2)
    shown = felt_batch(generator)
    went = (policy.act(shown.inputs, generator).chunk - shown.inputs.state[:, None]).mean((1, 2))
    right = (went.sign() == shown.inputs.touch[:, 1].sign()).float().mean()
    assert right > 0.9 if touch else 0.3 < right < 0.7


# ---- acting --------------------------------------------------------------------------------------


def decider(config: VlaConfig = TOUCH) -> Decider:
    return Decider(tiny_model(config=config), Conditioning())


def test_acting_reads_the_observation_as_training_read_the_dataset(data):
    look = dataclasses.replace(recorded_look(data, 0, 5), touch=data.tables[0].touch[5])
    processor = ObservationProcessor(tiny_model(config=TOUCH))
    np.testing.assert_array_equal(processor.observe(look).touch, data.batch(0, np.array([5])).inputs.touch)


def test_what_is_felt_changes_what_is_done(data):
    look, acting = recorded_look(data, 0, 5), decider()
    looks = [dataclasses.replace(look, touch=FELT), dataclasses.replace(look, touch=-FELT)]
    chunks = [acting.decide(one, one.state, [], torch.Generator().manual_seed(0)).chunk for one in looks]
    assert not np.allclose(*chunks, atol=1e-4)


@pytest.mark.parametrize("touch", [None, np.full(7, np.nan, np.float32)])
def test_a_robot_that_does_not_tell_is_refused(data, touch):
    look = dataclasses.replace(recorded_look(data, 0, 5), touch=touch)
    with pytest.raises(UserError, match="this robot does not tell") as refused:
        decider().decide(look, look.state, [], torch.Generator())
    assert "\n" not in str(refused.value)
    decider(TINY).decide(look, look.state, [], torch.Generator())  # a policy that does not need it plays on


# ---- who is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "number"), [(None, "34 of 34"), (slice(3, 5), "2 of 34")])
def test_a_dataset_that_does_not_tell_is_refused_in_one_line_and_still_loads(root, tmp_path, frames, number):
    old = without(root, tmp_path / "old", frames)
    training_data(Source(old)).batch(0, np.arange(3))
    with pytest.raises(UserError, match=f"does not tell what the tool felt at {number} frames") as refused:
        training_data(Source(old), policy=tiny_model(config=TOUCH))
    assert "\n" not in str(refused.value)


def test_what_hands_over_no_touch_is_refused():
    with pytest.raises(UserError, match="policy.touch=true cannot be exported"):
        WholePolicy(decider())
    with pytest.raises(UserError, match="policy.touch=true cannot be served"):
        check_served(decider().policy)
    check_served(decider(TINY).policy)
