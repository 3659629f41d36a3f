"""The trainer against plain loops: averaging, clipping, schedule, device, and what it does when a loss is no number."""

import contextlib
import copy
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from policies.core.inputs import Inputs
from policies.training import loop
from policies.training.loop import Log, train
from policies.training.optim import OptimConfig, choose_device
from policies.training.trainer import NotFinite, Trainer
from sim.core.errors import KEPT, NOTHING_NEW, UserError
from sim.core.structured import typed

QUICK = OptimConfig(steps=60, batch=4, learning_rate=1e-2, warmup_steps=5, threads=1, save_every=20)


class Line(nn.Module):
    """y = a x + b, b learned slowly, c frozen."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.full((1,), value)) for value in (0.5, 0.1, 7.0))
        self.c.requires_grad_(requires_grad=False)

    def loss(self, batch: Inputs, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        noise = torch.randn(batch.state.shape, generator=generator).to(batch.state)
        error = (self.a * batch.state + self.b - 2 * batch.state - 0.1 * noise + 0 * self.c).square().mean()
        return error, {"error": error.detach()}


def sample(rng: np.random.Generator, size: int) -> Inputs:
    return Inputs(torch.from_numpy(rng.normal(size=(size, 1))).float())


def trainer(config: OptimConfig = QUICK) -> Trainer:
    model = Line()
    return Trainer(model, model.loss, config, slow=[model.b])


class Memory:
    """A tracker that remembers."""

    def __init__(self):
        self.rows: list[tuple[int, dict]] = []

    def log(self, step, metrics) -> None:
        self.rows.append((step, dict(metrics)))


def test_the_average_is_an_exponential_one_that_warms_up():
    made, expected = trainer(), None
    for step in range(30):
        before = copy.deepcopy(made.model.state_dict())
        expected = expected or before
        made.update(sample(np.random.default_rng(step), 4))
        decay = min(QUICK.ema_decay, (1 + step) / (10 + step))
        expected = {k: decay * v + (1 - decay) * made.model.state_dict()[k] for k, v in expected.items()}
    averaged = made.averaged()
    assert not averaged.training
    for name, value in expected.items():
        assert torch.allclose(averaged.state_dict()[name], value, atol=1e-6)


def test_without_averaging_the_last_weights_are_kept():
    made = trainer(dataclasses.replace(QUICK, ema_decay=0.0))
    made.update(sample(np.random.default_rng(0), 4))
    assert torch.equal(made.averaged().a, made.model.a)


def test_slow_parameters_learn_at_their_share_and_frozen_ones_not_at_all():
    made = trainer(dataclasses.replace(QUICK, weight_decay=0.0))
    start = copy.deepcopy(made.model)
    made.update(sample(np.random.default_rng(0), 4))
    moved = {name: (value - getattr(start, name)).abs().item() for name, value in made.model.named_parameters()}
    assert moved["a"] == pytest.approx(QUICK.learning_rate / 5, rel=1e-3)  # the first step of Adam, of the warm-up
    assert moved["b"] == pytest.approx(QUICK.pretrained_rate * moved["a"], rel=1e-3) and moved["c"] == 0


def test_a_gradient_is_clipped_to_its_norm():
    made = trainer()
    made._loss = lambda batch, generator: (1e6 * made.model.a.sum(), {"x": torch.zeros(())})
    made.update(sample(np.random.default_rng(0), 4))
    assert made.model.a.grad.norm() == pytest.approx(QUICK.clip_norm, rel=1e-3)


def test_losses_are_averaged_and_go_to_the_tracker_and_the_log(tmp_path):
    tracker = Memory()
    train(trainer(dataclasses.replace(QUICK, steps=120)), sample, tmp_path, Log(tracker))
    assert [step for step, _ in tracker.rows] == [50, 100]
    assert tracker.rows[0][1].keys() == {"error", "learning_rate"} and tracker.rows[0][1]["error"] > 0
    rows = [json.loads(line) for line in (tmp_path / loop.LOG).read_text().splitlines()]
    assert [(row["step"], row["error"]) for row in rows] == [(step, row["error"]) for step, row in tracker.rows]


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_training_stops_at_a_number_that_is_none_and_keeps_what_was_good(tmp_path, broken):
    made, good = trainer(), {}
    learn = made._loss

    def fail_at_30(batch, generator):
        loss, parts = learn(batch, generator)
        if made.step < 30:
            return loss, parts
        good.update(copy.deepcopy(made.model.state_dict()))
        return loss * torch.nan if broken == "loss" else (made.model.a - made.model.a).sqrt().sum(), parts

    made._loss = fail_at_30
    with pytest.raises(NotFinite, match=f"training stopped: {broken} is nan at step 31; the state of step 30 is kept"):
        train(made, sample, tmp_path)
    assert all(value.isfinite().all() for value in made.averaged().state_dict().values())
    again = trainer()
    loop.resume(again, tmp_path)
    assert again.step == 30 and all(torch.equal(v, again.model.state_dict()[k]) for k, v in good.items())


def test_what_computing_a_bad_loss_changes_is_taken_back(tmp_path):
    """The state that is kept is that of a run that never met the loss: noise goes on, running means are numbers."""
    model = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2))

    def loss(batch: Inputs, generator: torch.Generator):
        noise = torch.randn(batch.state.shape, generator=generator)
        error = model(batch.state + noise).square().mean()
        return error, {"error": error.detach()}

    made = Trainer(model, loss, QUICK)
    made.update(sample(np.random.default_rng(0), 4))
    before = copy.deepcopy(made.state())
    with pytest.raises(NotFinite, match="loss is nan at step 2"):
        made.update(Inputs(torch.full((4, 1), torch.nan)))
    after = made.state()
    assert torch.equal(after["generator"], before["generator"])
    assert all(torch.equal(value, before["model"][name]) for name, value in after["model"].items())


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path):
    long = dataclasses.replace(QUICK, steps=200, save_every=80)
    for died in (70, 130, None):
        made = trainer(long)
        learn = made._loss

        def loss(batch, generator, made=made, learn=learn, died=died):
            if made.step == died:
                raise KeyboardInterrupt
            return learn(batch, generator)

        made._loss = loss
        with pytest.raises(KeyboardInterrupt) if died else contextlib.nullcontext():
            train(made, sample, tmp_path)
        with (tmp_path / loop.LOG).open("a") as file:
            file.write("" if died is None else '{"step": 1')  # a kill may cut off the last row
    assert [row["step"] for row in loop.read_log(tmp_path / loop.LOG)] == [50, 100, 150, 200]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole = trainer()
    train(whole, sample, tmp_path / "whole")
    broken = trainer()
    for step in range(40):
        broken.update(sample(np.random.default_rng([QUICK.seed, step]), QUICK.batch))
    loop.save_state(broken, tmp_path)
    resumed = trainer()
    train(resumed, sample, tmp_path)
    assert torch.equal(resumed.model.a, whole.model.a) and torch.equal(resumed.averaged().b, whole.averaged().b)


def test_a_state_that_a_gpu_left_is_gone_on_from_without_one(tmp_path, monkeypatch):
    made = trainer()
    made.update(sample(np.random.default_rng(0), 4))
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        loop.save_state(made, tmp_path)
    again = trainer()
    loop.resume(again, tmp_path)
    assert again.step == 1 and torch.equal(again.model.a, made.model.a)


@pytest.mark.parametrize("content", [[1], {"model": Line().state_dict()}], ids=["list", "weights"])
def test_a_file_that_is_no_state_is_one_line(tmp_path, content):
    torch.save(content, tmp_path / loop.STATE)
    with pytest.raises(UserError, match=r"training.pt is broken \(it is no state of a training\); remove it"):
        loop.resume(trainer(), tmp_path)


def test_an_interrupt_while_a_run_resumes_is_one(tmp_path, monkeypatch):
    loop.save_state(trainer(), tmp_path)
    monkeypatch.setattr(Trainer, "restore", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(trainer(), sample, tmp_path)
    assert getattr(caught.value, KEPT) == NOTHING_NEW


def interrupted(*_) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("precision", "able", "warned"),
    [
        ("bfloat16", "AVX2", True),
        ("bfloat16", "AVX512", False),
        ("bfloat16", "DEFAULT", False),
        ("float32", "AVX2", False),
    ],
)
def test_a_processor_that_emulates_bfloat16_is_told_of(tmp_path, monkeypatch, caplog, precision, able, warned):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: able)
    train(trainer(dataclasses.replace(QUICK, steps=1, precision=precision)), sample, tmp_path)
    assert ("(AVX2) emulates it" in caplog.text) == warned


def test_devices_are_checked():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="^optim.device=cuda: torch finds no GPU here; give optim.device=cpu"):
            Trainer(Line(), lambda batch, generator: (batch, {}), dataclasses.replace(QUICK, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: training on it is not tested")
def test_training_on_a_gpu_is_training_on_the_cpu(tmp_path):
    made = {device: trainer(dataclasses.replace(QUICK, device=device)) for device in ("cpu", "cuda")}
    for device, one in made.items():
        train(one, sample, tmp_path / device)
    assert torch.allclose(made["cpu"].averaged().a, made["cuda"].averaged().a, atol=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("steps", 0, "at least 1"), ("batch", -3, "at least 1"), ("learning_rate", 0.0, "more than 0"),
        ("clip_norm", -1.0, "more than 0"), ("ema_decay", 1.0, "below 1"), ("device", "tpu", "expected one of"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_one_line(option, value, expected):
    with pytest.raises(UserError, match=rf"{option}.*{expected}"):
        typed(OptimConfig, {option: value}, "optim.")


def test_what_an_optimizer_loads_is_loaded_before_a_scene_is_drawn(tmp_path):
    (tmp_path / "triton.py").write_text("print('loaded')")
    importing = [sys.executable, "-c", "import policies.training.trainer"]
    found = subprocess.run(importing, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": f"{tmp_path}:."})
    assert found.stdout == "loaded\n", found.stderr
