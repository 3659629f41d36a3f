"""Depth as tokens: what training and acting read, that actions follow it, and who is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FPS, FR3
from learning import QUICK, SIZE, SPEC, TINY, about, learn, make_demo, random_batch, tiny_model, training_data

from policies.benchmark.side_by_side import Frames
from policies.core.depth import SIDE, depth_cells
from policies.core.inputs import Batch
from policies.core.spec import Needs, check_depth_is_drawn
from policies.export.whole_policy import WholePolicy
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.regression import RegressionConfig
from policies.models import checkpoint
from policies.models.depth_tokens import DepthTokens, shown
from policies.models.vla import VlaConfig
from policies.processing.data import Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.remote.policy_session import check_served
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from policies.training.trainer import Trainer
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import features

DEPTH = dataclasses.replace(TINY, depth=True)
CAMERAS = FR3.camera_names


def write(root: Path, *, depth: bool = True) -> Path:
    """Demonstrations of 32 x 32 pixels; in depth image `frame` of an episode everything is 300 + 10 frame mm away, of
    the second camera 100 mm farther, but for a corner without depth."""
    schema, world = features(FR3, SIZE, depth=depth), {"world": {"task": "pick_place"}}
    with DatasetWriter(root, schema, FPS, FR3.name, world) as writer:
        for number, length in enumerate((9, 14)):
            episode = make_demo(number, length)
            far = np.tile((300 + 10 * np.arange(length, dtype=np.uint16))[:, None, None], (1, *SIZE))
            far[:, :4, :4] = 0
            images = dict(episode.images or {})
            images |= {f"{c}_depth": np.where(far, far + 100 * i, 0) for i, c in enumerate(CAMERAS)} if depth else {}
            writer.commit(dataclasses.replace(episode, images=images))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("depth") / "demos")


@pytest.fixture(scope="module")
def data(root) -> TrainingData:
    return training_data(Source(root), policy=tiny_model(config=DEPTH))


def look(data: TrainingData, frame: int, **changes) -> Observation:
    """What was recorded at a frame of the first episode."""
    dataset = data.tables[0].dataset
    images = {c: dataset.images(0, c)[frame] for c in CAMERAS}
    depth = {c: dataset.depth(0, c)[frame] for c in CAMERAS}
    seen = Observation(images, data.tables[0].state[frame], dataset.instruction(0), frame / FPS, depth=depth)
    return dataclasses.replace(seen, **changes)


# ---- what it is made of --------------------------------------------------------------------------


def test_a_cell_is_the_mean_of_what_is_known_in_it():
    depth = torch.full((1, 2 * SIDE, 2 * SIDE), 600)
    depth[0, :2, :2] = torch.tensor([[500, 0], [0, 700]])
    depth[0, :2, 2:4] = 0
    depth[0, 0, 4] = 1000
    cells = depth_cells(depth)
    assert cells.shape == (1, SIDE, SIDE)
    np.testing.assert_allclose(cells[0, 0, :4], [0.6, 0.0, 0.7, 0.6], atol=1e-6)


def test_the_network_sees_one_over_depth_and_where_there_is_none():
    cells = torch.zeros(1, SIDE, SIDE)
    cells[0, 0, :3] = torch.tensor([0.1, 0.2, 0.5])
    seen = shown(cells)
    np.testing.assert_allclose(seen[0, 0, 0, :4], [1.0, 0.5, 0.2, 0.0], atol=1e-6)
    np.testing.assert_array_equal(seen[0, 2, 0, :4], [1, 1, 1, 0])
    assert not seen[0, 1, 5:].any()


def test_what_stands_out_is_told_in_centimetres():
    cells = torch.full((1, SIDE, SIDE), 0.6)
    assert shown(cells)[0, 1].abs().max() < 1e-4  # a flat wall, to its border
    cells[0, 20, 20], cells[0, 20, 21] = 0.56, 0.0
    relief = shown(cells)[0, 1]
    assert relief[20, 20].item() == pytest.approx(4 * (1 - 1 / 168), rel=1e-3) and relief[20, 21] == 0
    assert relief[20, 22].item() == pytest.approx(-4 / 168, rel=1e-2)


def test_a_sample_holds_the_depth_of_its_own_frame_and_the_right_camera(data):
    depth = data.batch(0, np.array([0, 3, 9 + 13])).inputs.depth  # frames 0 and 3 of episode 0, 13 of episode 1
    for i, camera in enumerate(CAMERAS):
        np.testing.assert_allclose(depth[camera][:, -1, -1], (0.3 + 0.1 * i) + 0.01 * np.array([0, 3, 13]), rtol=5e-4)
        assert not depth[camera][:, 0, 0].any() and depth[camera].shape == (3, SIDE, SIDE)


def test_with_an_old_look_it_is_of_the_look(root):
    data = training_data(Source(root), policy=tiny_model(config=dataclasses.replace(DEPTH, look_age=3)))
    inputs = data.batch(0, np.array([7]), age=np.array([3])).inputs
    assert inputs.depth["front"][0, -1, -1].item() == pytest.approx(0.34, rel=5e-4)
    np.testing.assert_array_equal(inputs.state[0], data.tables[0].state[7])


def test_decisions_side_by_side_are_on_the_recorded_depth(root, data, tmp_path):
    checkpoint.save(tmp_path / "policy", tiny_model(config=DEPTH), about(root))
    frames = Frames(str(root))
    decider = frames.decider(str(tmp_path / "policy"))
    seen = decider.see(frames.look(4, decider)).depth
    for camera, cells in data.batch(0, np.array([4])).inputs.depth.items():
        torch.testing.assert_close(seen[camera], cells)


def test_a_policy_without_it_reads_none_and_keeps_its_cache(root, data):
    plain = training_data(Source(root))
    assert plain.batch(0, np.arange(3)).inputs.depth == {}
    folders = {one.name for one in root.with_name("demos.cache").iterdir()}
    assert {"fake-vision", f"fake-vision-depth{SIDE}"} <= folders


def test_of_wider_images_the_middle_is_seen():
    processor = ObservationProcessor(tiny_model(config=DEPTH))
    wide = np.full((1, 48, 96), 500, np.uint16)
    wide[:, :, :24], wide[:, :, 72:] = 900, 900  # cut off for square images
    assert np.allclose(processor.depth_cells({"front": wide})["front"], 0.5, atol=1e-3)


# ---- that it matters -----------------------------------------------------------------------------


def far_batch(generator: torch.Generator) -> Batch:
    """Nothing but whether something stands 6 cm out of a wall says where to go."""
    size = 32
    batch = random_batch(size)
    nearer = torch.rand(size, generator=generator) < 0.5
    depth = torch.full((size, SIDE, SIDE), 0.6)
    depth[:, 18:30, 18:30] = torch.where(nearer, 0.54, 0.6)[:, None, None]
    depth += 0.003 * torch.randn(depth.shape, generator=generator)
    same = [one[:1].expand(size, *one.shape[1:]) for one in (batch.inputs.state, batch.points)]
    inputs = dataclasses.replace(batch.inputs, maps={}, words=None, word_mask=None, state=same[0])
    inputs.depth = dict.fromkeys(CAMERAS, depth)
    inputs.points, inputs.turn = same[1], torch.zeros(size, 2, 4)
    actions = inputs.state[:, None] + 0.05 * (2.0 * nearer - 1)[:, None, None].expand(size, TINY.chunk, 7)
    return dataclasses.replace(batch, inputs=inputs, actions=actions, points=same[1])


@pytest.mark.parametrize("depth", [True, False])
def test_a_policy_learns_what_depth_alone_tells_and_only_then(depth):
    torch.manual_seed(0)
    fusion, head = TruePointsConfig(width=16), RegressionConfig(hidden=64, blocks=1)
    policy = VlaConfig(chunk=4, execute=2, fusion=fusion, head=head, depth=depth).build(SPEC)
    generator = torch.Generator().manual_seed(0)
    batch = far_batch(generator)
    policy.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    learn(policy, lambda: far_batch(generator), generator, steps=80, rate=4e-3)
    seen = far_batch(generator)
    went = (policy.act(seen.inputs, generator).chunk - seen.inputs.state[:, None]).mean((1, 2))
    right = (went.sign() == (seen.actions - seen.inputs.state[:, None]).mean((1, 2)).sign()).float().mean()
    assert right > 0.9 if depth else 0.3 < right < 0.7


def test_it_trains_and_loads_again(data, tmp_path):
    policy = tiny_model(config=DEPTH)
    trainer = Trainer(policy, policy.loss, QUICK)
    assert policy.depth_tokens
    before = [one.detach().clone() for one in policy.depth_tokens.parameters()]
    for _ in range(3):
        trainer.update(data.sample(np.random.default_rng(0), 8))
    assert all(not torch.equal(a, b) for a, b in zip(before, policy.depth_tokens.parameters(), strict=True))
    checkpoint.save(tmp_path / "policy", policy, about())
    again, _ = checkpoint.load(tmp_path / "policy")
    assert again.needs.depth


# ---- acting --------------------------------------------------------------------------------------


def decider(config: VlaConfig = DEPTH) -> Decider:
    return Decider(tiny_model(config=config), Conditioning())


def test_acting_reads_the_observation_as_training_read_the_dataset(data):
    inputs = ObservationProcessor(tiny_model(config=DEPTH)).observe(look(data, 5))
    trained = data.batch(0, np.array([5])).inputs
    for camera in CAMERAS:
        np.testing.assert_array_equal(inputs.depth[camera], trained.depth[camera])


def test_what_is_measured_changes_what_is_done(data):
    acting = decider()
    looks = [look(data, 5), look(data, 5, depth=dict.fromkeys(CAMERAS, np.full(SIZE, 150, np.uint16)))]
    chunks = [acting.decide(one, one.state, [], torch.Generator().manual_seed(0)).chunk for one in looks]
    assert not np.allclose(*chunks, atol=1e-4)


def test_an_agent_draws_depth_for_its_looks_alone(data):
    drawn = []

    class Lazy(dict):
        def __getitem__(self, camera):
            drawn.append(camera)
            return super().__getitem__(camera)

    seen = look(data, 5)
    seen = dataclasses.replace(seen, depth=Lazy(seen.depth))
    for config, expected in ((DEPTH, list(CAMERAS)), (TINY, [])):
        agent = PolicyAgent(decider(config), Timing())
        agent.reset(seen, 0)
        drawn.clear()
        agent.act(seen)
        agent.act(seen)  # the second step of the chunk
        assert drawn == expected


def test_a_camera_that_measures_none_is_refused(data):
    acting = decider()
    for depth in ({}, {"front": np.full(SIZE, 500, np.uint16)}):
        with pytest.raises(UserError, match=r"camera (front|wrist) measures none") as refused:
            acting.decide(one := look(data, 5, depth=depth), one.state, [], torch.Generator())
        assert "\n" not in str(refused.value)
    decider(TINY).decide(one, one.state, [], torch.Generator())  # a policy that does not need it plays on


# ---- who is refused ------------------------------------------------------------------------------


def test_a_dataset_without_it_is_refused_in_one_line_and_still_loads(tmp_path):
    old = write(tmp_path / "old", depth=False)
    training_data(Source(old)).batch(0, np.arange(3))
    with pytest.raises(UserError, match="holds no depth of camera front, which policy.depth=true needs") as refused:
        training_data(Source(old), policy=tiny_model(config=DEPTH))
    assert "\n" not in str(refused.value) and Dataset(old).features.depth == ()


def test_a_simulation_that_draws_none_is_refused():
    check_depth_is_drawn(Needs(depth=True), drawn=True)
    check_depth_is_drawn(Needs(), drawn=False)
    with pytest.raises(UserError, match="render.depth=false: expected render.depth=true"):
        check_depth_is_drawn(Needs(depth=True), drawn=False)


def test_what_hands_over_no_depth_is_refused():
    with pytest.raises(UserError, match="policy.depth=true cannot be exported"):
        WholePolicy(decider())
    with pytest.raises(UserError, match="policy.depth=true cannot be served"):
        check_served(decider().policy)


def test_a_policy_on_points_takes_it_too(root):
    fusion, head = TruePointsConfig(width=16), RegressionConfig(hidden=16, blocks=1)
    policy = VlaConfig(chunk=4, execute=2, fusion=fusion, head=head, depth=True).build(SPEC)
    inputs = training_data(Source(root), policy=policy).batch(0, np.array([2])).inputs
    assert inputs.maps == {} and inputs.depth["front"][0, -1, -1].item() == pytest.approx(0.32, rel=5e-4)
    assert len(DepthTokens(CAMERAS, 8)) == 2
