"""Distillation: the student's targets are the teacher's chunks, of the same looks; what does not fit is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import QUICK, SPEC, TINY, about, killed_at, random_batch, tiny_model, training_data, write_demos
from programs import ended

from policies.core.indicator import Indicator
from policies.core.inputs import Batch
from policies.core.interface import Decision
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.heads.flow import FlowConfig
from policies.heads.regression import RegressionConfig
from policies.models import checkpoint
from policies.models.vla import Vla
from policies.processing.data import Source
from policies.train import TrainConfig, train
from policies.training.distill import Teacher, load_teacher
from sim.core.errors import UserError

SMALL = dataclasses.replace(TINY, head=FlowConfig(hidden=8, blocks=1, euler_steps=4, noise_samples=2))
REGRESSES = dataclasses.replace(TINY, head=RegressionConfig(hidden=16, blocks=1))


@pytest.fixture
def demos(tmp_path):
    return write_demos(tmp_path / "demos")


@pytest.fixture
def teacher(tmp_path, demos):
    provenance = {"data": {}, "seeds": [[70, 90]], "splits": [{"part": "any"}]}
    checkpoint.save(tmp_path / "teacher", tiny_model(seed=5), about(guidance=2.0, provenance=provenance))
    return tmp_path / "teacher"


def options(demos, teacher, tmp_path, **changes) -> TrainConfig:
    values = {"data": (str(demos),), "out": str(tmp_path / "out"), "policy": SMALL, "optim": QUICK}
    return TrainConfig(**{**values, "init_fusion": None, "teacher": str(teacher), **changes})


class Told(Vla):
    """Decides what it is told, a number for every look and step; notes how it was asked."""

    def act(self, inputs, generator, indicator=Indicator.POSITIVE, guidance=1.0) -> Decision:
        self.asked = indicator, guidance
        steps = torch.arange(self.config.chunk)[None, :, None]
        return Decision(inputs.state[:, None] + 0.1 * steps)


class Noting(Vla):
    """Notes the batch that it would learn."""

    def loss(self, batch: Batch, generator):
        self.noted = batch
        return super().loss(batch, generator)


def test_the_targets_are_the_teachers_chunks_all_of_them_by_its_own_guidance():
    told, student = Told(TINY, SPEC), Noting(SMALL, SPEC)
    batch = random_batch()
    batch.valid[:, 2:] = False  # the episode ends
    loss, parts = Teacher(told, about(guidance=3.0)).loss(student)(batch, torch.Generator().manual_seed(0))
    assert told.asked == (Indicator.POSITIVE, 3.0)
    assert torch.equal(student.noted.actions[:, 2], batch.inputs.state + 0.2) and student.noted.valid.all()
    assert student.noted.inputs is batch.inputs and torch.equal(student.noted.points, batch.points)
    assert torch.isfinite(loss) and "flow" in parts
    loss.backward()
    assert all(one.grad is None for one in told.parameters())


def test_a_smaller_policy_comes_to_decide_as_its_teacher_and_not_as_the_data(demos, tmp_path):
    """Data and teacher contradict each other; both heads regress, so that a chunk is one number each."""
    torch.manual_seed(3)
    made = REGRESSES.build(SPEC)
    torch.nn.init.normal_(made.head.network.out.weight, std=0.3)
    checkpoint.save(tmp_path / "teacher", made, about())
    optim = dataclasses.replace(QUICK, steps=120, learning_rate=2e-2)
    small = dataclasses.replace(REGRESSES, head=RegressionConfig(hidden=12, blocks=1))
    student = train(options(demos, tmp_path / "teacher", tmp_path, policy=small, optim=optim))
    batch = looks(student, demos)
    decided, taught = (p.eval().act(batch.inputs, torch.Generator().manual_seed(0)).chunk for p in (student, made))
    off_teacher = (decided - taught).abs()[batch.valid].mean()
    off_data = (decided - batch.actions).abs()[batch.valid].mean()
    assert off_teacher < 0.3 * off_data


def looks(policy: Vla, demos) -> Batch:
    return training_data(Source(demos), policy=policy).batch(0, np.arange(20))


def test_it_learns_by_the_command_line_and_says_of_whom(demos, teacher, tmp_path):
    train(options(demos, teacher, tmp_path))
    student, metadata = checkpoint.load(tmp_path / "out")
    assert sum(one.numel() for one in student.parameters()) < sum(one.numel() for one in tiny_model().parameters())
    made_of = metadata.provenance
    assert made_of["config"]["teacher"] == str(teacher) and len(made_of["data"][str(teacher)]) == 64
    assert [70, 90] in made_of["seeds"] and {"part": "any"} in made_of["splits"]
    assert metadata.guidance == 1.0


def test_going_on_with_another_teacher_is_refused_and_with_the_same_ends_alike(demos, teacher, tmp_path):
    whole = train(options(demos, teacher, tmp_path, out=str(tmp_path / "whole"))).state_dict()
    with killed_at(6):
        train(options(demos, teacher, tmp_path))
    checkpoint.save(tmp_path / "other", tiny_model(seed=6), about())
    with pytest.raises(UserError, match="begun with other data"):
        train(options(demos, tmp_path / "other", tmp_path))
    resumed = train(options(demos, teacher, tmp_path)).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"chunk": 6}, "policy.chunk"), ({"memory": 1}, "policy.memory"), ({"head": FlowConfig(joins=True)}, "given")],
)
def test_a_teacher_of_other_steps_or_looks_is_refused(changes, what, teacher):
    student = dataclasses.replace(SMALL, **changes).build(SPEC)
    with pytest.raises(UserError, match=f"teacher={teacher} has .*{what}.*expected"):
        load_teacher(str(teacher), student)


def test_a_teacher_with_another_frozen_part_is_refused(tmp_path):
    eye = dataclasses.replace(TINY, fusion=GroundedPointsConfig(width=16, finder=TINY.fusion))
    checkpoint.save(tmp_path / "teacher", tiny_model(seed=1, config=eye), about())
    with pytest.raises(UserError, match="has frozen part"):
        load_teacher(str(tmp_path / "teacher"), tiny_model(seed=2, config=eye))
    load_teacher(str(tmp_path / "teacher"), tiny_model(seed=1, config=eye))


def test_a_missing_teacher_is_one_line(demos, tmp_path):
    found = ended("train", f"data={demos}", f"out={tmp_path / 'out'}", f"teacher={tmp_path / 'none'}")
    assert found.code == 2 and f"{tmp_path / 'none'} is no checkpoint" in found.err
    assert len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["critic", "noise_actor"])
def test_a_teacher_that_acts_by_what_lies_beside_it_is_refused(name, teacher):
    (teacher / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=f"teacher={teacher} has a {name} beside it, .*; expected it alone"):
        load_teacher(str(teacher), SMALL.build(SPEC))
