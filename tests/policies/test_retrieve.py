"""Retrieval: warping against all paths counted out, planted motions that are found, lines for what does not fit."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fr3 import FPS, FR3
from learning import QUICK, SIZE, SPEC, TINY, about, killed_at, make_demo, tiny_model, write_demos
from programs import ended

from policies.fusion.grounded_points import TruePointsConfig
from policies.fusion.transformer import TransformerConfig
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source
from policies.processing.observation import ObservationProcessor
from policies.train import TrainConfig, train
from policies.training import retrieve
from policies.training.retrieve import _parts, best_part, cut_at_pauses, keep_similar, shares_of_retrieved
from policies.vision.pixels import PixelsConfig
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import DatasetWriter
from sim.dataset.recorder import features

POINTS = dataclasses.replace(TINY, fusion=TruePointsConfig(width=16))
POLICIES = {"points": POINTS, "images": TINY}

# ---- warping -----------------------------------------------------------------------------------


def paths(stretch: int, part: int, at: tuple[int, int]):
    """All paths from `at` to the stretch's last frame, by steps of (1, 1), (1, 2) and (2, 1)."""
    if at[0] == stretch - 1:
        yield [at]
    for frames, frames_there in ((1, 1), (1, 2), (2, 1)):
        after = (at[0] + frames, at[1] + frames_there)
        if after[0] < stretch and after[1] < part:
            yield from ([at, *rest] for rest in paths(stretch, part, after))


@pytest.mark.parametrize(("stretch", "lengths"), [(1, (3, 1)), (2, (4, 2)), (4, (7, 5, 3)), (5, (9, 3, 2)), (7, (6,))])
def test_the_best_part_is_the_cheapest_of_all_paths(stretch, lengths):
    distance = np.random.default_rng(stretch).random((stretch, len(lengths), max(lengths)))
    for episode, length in enumerate(lengths):
        distance[:, episode, length:] = np.inf
    cost, first, last = best_part(distance)
    for episode, length in enumerate(lengths):
        every = [path for begin in range(length) for path in paths(stretch, length, (0, begin))]
        if not every:
            assert np.isinf(cost[episode])
            continue
        expected = min((sum(distance[q, episode, f] for q, f in path), path[0][1], path[-1][1]) for path in every)
        assert (cost[episode], first[episode], last[episode]) == (pytest.approx(expected[0]), *expected[1:])


def test_a_stretch_begins_where_the_arm_comes_to_rest_and_is_a_second_long():
    moves, rests = np.full(24, 0.05), np.zeros(6)  # rad a frame, 20 frames a second
    short = np.full(8, 0.05)
    path = np.cumsum(np.concatenate([[0], moves, rests, short, rests, moves, rests]))
    joints = np.outer(path, [0.6, 0.8, 0])
    assert cut_at_pauses(joints, 20) == [slice(0, 24), slice(24, 75)]
    assert cut_at_pauses(joints[:10], 20) == [slice(0, 10)]
    assert cut_at_pauses(joints[:1], 20) == [slice(0, 1)]


# ---- what is found -----------------------------------------------------------------------------


def write_motions(root: Path, episodes: list[list[tuple[int, int]]], task: str, robot: str = FR3.name) -> Path:
    """Episodes made of motions (which, frames): each a curve of its own through joints, points and pictures."""
    with DatasetWriter(root, features(FR3, SIZE), FPS, robot, {"world": {"task": task}}) as writer:
        for number, motions in enumerate(episodes):
            writer.commit(moving(number, motions))
    return root


def moving(number: int, motions: list[tuple[int, int]]):
    curve = np.concatenate([drawn(which, frames) for which, frames in motions])
    length, rng = len(curve), np.random.default_rng(number)
    state = np.column_stack([curve + rng.normal(0, 0.01, (length, 6)), np.ones(length)]).astype(np.float32)
    demo = make_demo(number, length)
    points = np.float32(np.tanh(curve[:, :3]))
    shown = dict.fromkeys(GROUNDING_COLUMNS, points)
    columns = {**demo.columns, "observation.state": state, "action": np.roll(state, -1, 0), **shown}
    shade = np.uint8(120 + 40 * np.tanh(curve[:, None, None, :3]))
    images = {camera: np.broadcast_to(shade, (length, *SIZE, 3)).copy() for camera in FR3.camera_names}
    return dataclasses.replace(demo, columns=columns, images=images)


def drawn(which: int, frames: int) -> np.ndarray:
    """A smooth curve (frames, 6), another one for every `which`, the same at any pace."""
    a, b, phase = np.random.default_rng(1000 + which).normal(size=(3, 6))
    t = np.linspace(0, 1, frames)[:, None]
    return a + b * np.sin(3 * t + phase)


NEW, OTHERS = 7, range(20, 40)
PLANTED = 33  # frames of the new motion in an old episode, at two thirds of its pace


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    """A new dataset, and two old ones: in the first every second episode has the new motion in its midst."""
    root, others = tmp_path_factory.mktemp("motions"), iter(OTHERS)
    with_it = [[(next(others), 20), (NEW, PLANTED), (next(others), 20)] for _ in range(2)]
    without = [[(next(others), 40)] for _ in range(2)]
    mixed = [episode for pair in zip(with_it, without, strict=True) for episode in pair]
    return (
        write_motions(root / "new", [[(NEW, 22)], [(NEW, 24)]], "stack"),
        write_motions(root / "mixed", mixed, "pick_place"),
        write_motions(root / "unlike", [[(next(others), 50)] for _ in range(3)], "push"),
    )


def retrieved(motions, share: float, config=POINTS) -> list[EpisodeTable]:
    tables = [EpisodeTable(Source(root)) for root in motions]
    keep_similar(tables[0], tables[1:], ObservationProcessor(config.build(SPEC)), share)
    return tables


@pytest.mark.parametrize("name", POLICIES)
def test_the_planted_motion_is_found_and_nothing_else(motions, name):
    whole = 2 * (40 + PLANTED) + 2 * 40 + 3 * 50
    new, mixed, unlike = retrieved(motions, 2 * PLANTED / whole, POLICIES[name])
    assert (new.weight == 1).all() and not unlike.weight.any()
    planted = np.isin(mixed.episode, (0, 2)) & (mixed.frame >= 20) & (mixed.frame < 20 + PLANTED)
    found = mixed.weight > 0
    assert found.sum() == planted.sum() == 2 * PLANTED
    assert (found & planted).sum() >= 0.9 * planted.sum()


def test_pictures_as_they_are_are_told_apart_by_their_colour(tmp_path):
    """As the cache holds them: as float numbers."""
    demo = make_demo(0, 2)
    images = {camera: np.zeros((2, *SIZE, 3), np.uint8) for camera in FR3.camera_names}
    images["front"][0, ..., 0] = images["front"][1, ..., 2] = 200  # red, then blue
    with DatasetWriter(tmp_path / "data", features(FR3, SIZE), FPS, FR3.name, {}) as writer:
        writer.commit(dataclasses.replace(demo, images=images))
    policy = dataclasses.replace(TINY, vision=PixelsConfig(), fusion=TransformerConfig(width=32)).build(SPEC)
    _, seen, _ = _parts(EpisodeTable(Source(tmp_path / "data")), ObservationProcessor(policy), 1)
    front, wrist = np.split(seen, 2, 1)
    np.testing.assert_allclose(front, [[200, 0, 0], [0, 0, 200]], atol=12)  # video
    assert np.abs(wrist).max() < 12


def test_the_part_that_is_asked_for_is_kept_and_the_more_the_same_and_more(motions, caplog):
    kept = []
    for share in (0.1, 0.2, 0.3):
        _, *old = retrieved(motions, share)
        kept.append(np.concatenate([table.weight > 0 for table in old]))
        assert kept[-1].sum() == np.ceil(share * len(kept[-1]))
    for less, more in itertools.pairwise(kept):
        assert (more[less]).all()
    assert "only" not in caplog.text


def walks(lengths: tuple[int, ...], name: str) -> SimpleNamespace:
    """A table of episodes whose arm never rests."""
    frames = np.concatenate([np.arange(n) for n in lengths])
    state = np.random.default_rng(len(name)).normal(size=(len(frames), 7)).cumsum(0)
    return SimpleNamespace(
        first=np.cumsum([0, *lengths[:-1]]), lengths=np.array(lengths), frame=frames, state=state,
        weight=np.ones(len(frames)), dataset=SimpleNamespace(fps=FPS, root=name),
    )  # fmt: skip


@pytest.mark.parametrize(("share", "enough"), [(0.1, True), (0.6, False), (1.0, False)])
def test_what_matches_nothing_is_not_kept_however_much_is_asked_for(monkeypatch, caplog, share, enough):
    """One stretch of 40 frames: of each episode one part matches, of 20 to 79 frames, in whichever file it lies."""
    new, *old = walks((40,), "new"), walks((200,) * 5, "first"), walks((200,) * 5, "second")
    rng = np.random.default_rng(0)
    monkeypatch.setattr(retrieve, "describe", lambda tables, *_: [rng.normal(size=(len(t.frame), 6)) for t in tables])
    with caplog.at_level("INFO"):
        keep_similar(new, old, None, share)
    kept = np.stack([table.weight.reshape(5, 200) > 0 for table in old])
    if enough:
        assert kept.sum() == share * 2000 and "only" not in caplog.text
    else:
        assert ((kept.sum(-1) >= 20) & (kept.sum(-1) <= 79)).all()
        assert (np.diff(kept, prepend=False, append=False).sum(-1) == 2).all()  # in one piece
        assert f"retrieve={share:g}: only {kept.mean():.2f} of the old frames match" in caplog.text


def test_half_of_a_batch_is_new_and_the_rest_retrieved_by_frames(tmp_path):
    roots = (
        write_demos(tmp_path / "a", (20,)),
        write_demos(tmp_path / "b", (5,)),
        write_demos(tmp_path / "c", (16,), {0: (0, 4)}),
    )
    tables = [EpisodeTable(Source(root)) for root in roots]
    tables[0].weight[:14] = 0  # 6 of 20 retrieved
    tables[2].weight[3:7] = 0  # 3 of them perturbed or not retrieved: 9 of 16 are drawn
    assert shares_of_retrieved(tables[1], tables) == pytest.approx([0.2, 0.5, 0.3])
    for table in (tables[0], tables[2]):
        table.weight[:] = 0
    assert shares_of_retrieved(tables[1], tables) == [0.0, 1.0, 0.0]


# ---- the program -------------------------------------------------------------------------------

READS = ("policy=points", "policy.fusion.width=16", "policy.head.hidden=16", "policy.chunk=4", "policy.execute=2",
         "init_fusion=null", "optim.steps=3", "optim.batch=8", "optim.threads=1")  # fmt: skip


def test_by_the_command_line_it_says_how_much_is_retrieved_of_each(tmp_path):
    new, old = (write_demos(tmp_path / name, lengths) for name, lengths in (("new", (16,)), ("old", (30, 30))))
    found = ended("train", f"data=[{new},{old}]", "retrieve=0.25", f"out={tmp_path / 'out'}", *READS)
    assert found.code == 0, found.err
    assert f"{old}: 15 of 60 frames retrieved" in found.out + found.err
    made_of = checkpoint.load(tmp_path / "out")[1].provenance
    assert set(made_of["data"]) == {str(new), str(old)} and made_of["config"]["retrieve"] == 0.25


def test_it_goes_on_from_a_policy_of_the_old_task_and_resumes_to_the_same_weights(motions, tmp_path):
    checkpoint.save(tmp_path / "start", tiny_model(config=TINY), about(motions[1]))
    roots = tuple(map(str, motions))
    config = TrainConfig(roots, str(tmp_path / "out"), TINY, QUICK, init=str(tmp_path / "start"), retrieve=0.2)
    whole = train(dataclasses.replace(config, out=str(tmp_path / "whole"))).state_dict()
    with killed_at(6):
        train(config)
    for other in ({"retrieve": 0.3}, {"retrieve": None}, {"data": (roots[1], roots[0], roots[2])}):
        with pytest.raises(UserError, match="begun with other data, or draws of them"):
            train(dataclasses.replace(config, **other))
    resumed = train(config).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("value", ["0", "-0.1", "1.5", "nan"])
def test_no_part_is_one_line(value):
    found = ended("train", "data=[a,b]", f"retrieve={value}")
    assert found.code == 2 and f"retrieve={value}" in found.err and len(found.err.strip().splitlines()) == 1


def test_nothing_to_retrieve_from_and_data_of_another_robot_are_one_line(motions, tmp_path):
    found = ended("train", f"data={motions[0]}", "retrieve=0.25")
    assert found.code == 2 and "retrieve=0.25 data=" in found.err and "expected data=[NEW,OLD]" in found.err
    other = write_motions(tmp_path / "other", [[(1, 30)]], "stack", robot="franka")
    checkpoint.save(tmp_path / "start", tiny_model(config=POINTS), about())
    words = (f"init={tmp_path / 'start'}", f"out={tmp_path / 'out'}", "policy=points", "retrieve=0.25")
    found = ended("train", f"data=[{motions[0]},{other}]", *words)
    assert found.code == 2 and f"{other} has robot franka, expected {FR3.name}" in found.err
    assert len(found.err.strip().splitlines()) == 1
