"""The target as the best look of the episode saw it: in training as in acting, by hand-made looks and brute force."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import SPEC, TINY, recorded_look, tiny_model, training_data, write_demos

from policies.core.inputs import Inputs
from policies.core.interface import Decision
from policies.core.parts import Fusion, FusionConfig, LanguageConfig, Prefix, VisionConfig
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.core.target_memory import TargetMemory, best_looks
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.processing import steps
from policies.processing.data import Source, TrainingData
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from policies.runtime.episode_context import EpisodeContext
from sim.core.errors import UserError

LENGTHS = (11, 8)
OBJECT_W, TARGET_W, OBJECT_T, TARGET_T = range(4)  # in SPEC.points


class DrawnEye(Fusion):
    """Finds points and errors that are fixed random numbers of each image's brightness."""

    needs = Needs(images=True)
    gives = frozenset({"points", "errors"})
    prefix_tokens, width = 0, 1

    def forward(self, inputs: Inputs) -> Prefix:
        fine = next(iter(inputs.maps.values()))[0]
        rows = [
            torch.randn(4, 4, generator=torch.Generator().manual_seed(int(abs(float(one)) * 1e4)))
            for one in fine[:, :, 0, 0].double().round(decimals=2).sum(1)
        ]
        drawn = torch.stack(rows).expand(len(inputs), 4, 4)  # one image for all steps
        errors = (0.01 + 0.1 * drawn[:, :2, 3].abs()).repeat(1, 2)  # a thing's is the same in either frame
        return Prefix(drawn.new_zeros(len(drawn), 0, 1), 0.1 * drawn[..., :3], errors=errors)


@FUSIONS.register("drawn_eye")
@dataclass(frozen=True)
class DrawnEyeConfig(FusionConfig):
    name: str = "drawn_eye"

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> DrawnEye:
        return DrawnEye()


EYE = dataclasses.replace(TINY, fusion=GroundedPointsConfig(width=16, finder=DrawnEyeConfig()))
REMEMBERS = dataclasses.replace(EYE, remember_target=True)  # looks at every second step


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_demos(tmp_path_factory.mktemp("target") / "demos", LENGTHS)


@pytest.fixture
def data(root) -> TrainingData:
    return training_data(Source(root), policy=tiny_model(config=REMEMBERS))


def rows_of(lengths=LENGTHS) -> list[tuple[int, int]]:
    return [(episode, frame) for episode, length in enumerate(lengths) for frame in range(length)]


# ---- which look --------------------------------------------------------------------------------


def test_the_best_look_is_that_of_brute_force():
    rng = np.random.default_rng(3)
    lengths, steps = (17, 3, 25, 1), 4
    frame = np.concatenate([np.arange(n) for n in lengths])
    first = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
    error, told = rng.random(len(frame)), ["one"] * len(frame)
    best = best_looks(error, frame, told, steps)
    for row in range(len(frame)):
        looks = np.arange(row, first[row] - 1, -steps)
        assert best[row] == looks[np.argmin(error[looks])]


def test_another_step_has_another_target():
    error = np.array([0.1, 0.9, 0.5, 0.6])
    assert best_looks(error, np.arange(4), ["open", "open", "put", "put"], 1).tolist() == [0, 0, 2, 2]


def test_every_step_of_an_instruction_keeps_its_own_target_until_there_is_another_instruction():
    memory, kept = TargetMemory(tiny_model(config=REMEMBERS)), []
    told = ["both", "both", "both", "one", "one", "other"]
    for instruction, errors in zip(told, ([0.1, 0.7], [0.9, 0.5], [0.5, 0.6], [0.8], [0.9], [0.95]), strict=True):
        memory.listen(instruction)
        points = torch.tensor(errors)[:, None, None].expand(-1, 4, 4)
        seen = memory.see(Inputs(torch.zeros(len(errors), 7), points=points)).points
        assert seen is not None
        kept.append([round(one, 3) for one in seen[:, TARGET_W, 3].tolist()])
    assert kept == [[0.1, 0.7], [0.1, 0.5], [0.1, 0.5], [0.8], [0.8], [0.95]]


# ---- what is seen ------------------------------------------------------------------------------


def test_training_shows_the_best_looks_target_and_each_looks_own_object(data, root):
    plain = training_data(Source(root), policy=tiny_model(config=EYE))
    rows = np.arange(sum(LENGTHS))
    seen, alone = data.batch(0, rows).inputs.points, plain.batch(0, rows).inputs.points
    assert seen is not None and alone is not None
    error = alone[:, TARGET_W, 3]
    moved = 0
    for row, (_, frame) in enumerate(rows_of()):
        looks = row - np.arange(0, frame + 1, REMEMBERS.execute)
        best = looks[int(error[looks].argmin())]
        moved += best != row
        torch.testing.assert_close(seen[row, TARGET_W], alone[best, TARGET_W])
        torch.testing.assert_close(seen[row, [OBJECT_W, OBJECT_T]], alone[row, [OBJECT_W, OBJECT_T]])
        assert torch.equal(seen[row, TARGET_T, 3], alone[best, TARGET_T, 3])
    assert moved > 5


def test_an_agent_remembers_what_training_showed_and_forgets_with_the_episode(data, monkeypatch):
    policy, shown = data._inputs[0]._policy, []
    chunk = torch.zeros(1, REMEMBERS.chunk, 7)
    monkeypatch.setattr(policy, "act", lambda inputs, *_: shown.append(inputs) or Decision(chunk))
    agent = PolicyAgent(Decider(policy, Conditioning()), Timing())
    for episode in (0, 1):
        agent.reset(recorded_look(data, episode, 0), 0)
        for frame in range(7):
            agent.act(recorded_look(data, episode, frame))
    frames = [(episode, frame) for episode in (0, 1) for frame in (0, 2, 4, 6)]
    for inputs, (episode, frame) in zip(shown, frames, strict=True):
        trained = data.batch(0, np.array([episode * LENGTHS[0] + frame])).inputs
        torch.testing.assert_close(inputs.points, trained.points, atol=1e-4, rtol=1e-3)


# ---- what cannot be ----------------------------------------------------------------------------


def test_what_cannot_remember_a_target_is_one_line():
    with pytest.raises(UserError, match="needs a fusion that knows its error; policy=eye has one"):
        dataclasses.replace(TINY, remember_target=True).build(SPEC)
    with pytest.raises(UserError, match="policy.look_age=3: expected one of the two"):
        dataclasses.replace(REMEMBERS, look_age=3)


# ---- what depends on it ------------------------------------------------------------------------


def test_the_step_that_is_due_is_chosen_by_remembered_targets(data, monkeypatch):
    shown, kept = [], []

    def step_due(told, points, opening, before):
        shown.append(points)
        kept.append(before)
        return 1

    monkeypatch.setattr(steps, "step_due", step_due)
    policy = tiny_model(config=REMEMBERS)
    decider, context = Decider(policy, Conditioning()), EpisodeContext(policy)
    for frame in range(0, 8, 2):
        look = dataclasses.replace(recorded_look(data, 0, frame), instruction="put the red cube in the blue drawer")
        seen = decider.see(look, context).points
        assert seen is not None and torch.equal(seen[0], shown[-1][1])
    alone = data._inputs[0]._seen(np.arange(0, 8, 2)).points
    assert alone is not None and len(shown[0]) == 2
    error = alone[:, TARGET_W, 3]
    for i, points in enumerate(shown):
        torch.testing.assert_close(points[1, TARGET_W, 3], error[: i + 1].min(), atol=1e-3, rtol=1e-2)
    assert error.argmin() < len(error) - 1  # the last look is not the best
    assert kept == [None, 1, 1, 1]  # and the step that was due is handed on from look to look
    context.begin()
    decider.see(look, context)
    assert kept[-1] is None


def test_what_a_policy_is_told_of_a_point_does_not_weigh_by_the_eyes_error():
    fusion = tiny_model(config=EYE).fusion
    points = torch.tensor([[[0.3, 0.1, 0.0], [0.2, 0.2, 0.0], [0.1, 0.0, 0.1], [0.0, 0.1, 0.1]]])
    state = torch.tensor([[*FR3.home_rad, 1.0]])

    def tokens(error_m: float) -> torch.Tensor:
        known = torch.cat([points, torch.full((1, 4, 1), error_m)], 2)
        return fusion(Inputs(state, points=known)).tokens

    with torch.no_grad():
        torch.testing.assert_close(tokens(0.0), tokens(1.0))
        assert (tokens(1.0) - fusion.token(points)).abs().max() > 1e-3
