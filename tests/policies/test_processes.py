"""Two processes train as one does: closed forms, torch's DistributedDataParallel, and the real command by torchrun."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from learning import QUICK, about, killed_at, tiny_model, training_data, write_demos
from programs import ended
from safetensors.torch import load_file
from two_processes import ROWS, Line, Work, samples

from policies.models import checkpoint
from policies.processing.data import Source
from policies.training import loop, ranks
from policies.training.fit import fit
from policies.training.optim import OptimConfig
from policies.training.ranks import check_shared, in_ranks, mean_gradients
from sim.core.checkout import OWN
from sim.core.errors import UserError


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("processes") / "demos")


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights[name].flatten().float() for name in sorted(weights)])


# ---- gradients, resume -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(demos, tmp_path_factory):
    """What two processes found, the second half of a training that one began among it."""
    out = tmp_path_factory.mktemp("begun")
    with killed_at(6):
        fit(tiny_model(), training_data(Source(demos)), QUICK, out, about())
    assert (out / loop.STATE).is_file()
    work = Work(demos, out)
    in_ranks(work, 2)
    return work


def test_gradients_and_losses_are_those_of_all_rows(work):
    x, y = (part.numpy().astype(float) for part in samples())
    away = x @ Line().w.detach().numpy() - y
    assert np.allclose(work.found["gradient"], 2 / ROWS * x.T @ away, atol=1e-6)
    assert work.found["loss"].item() == pytest.approx(np.mean(away**2), rel=1e-6)
    assert torch.allclose(work.found["gradient"], work.found["torch"], atol=1e-7)
    assert work.found["unused"] is None  # or weight decay would shrink it, as it does not in one process


def test_a_training_goes_on_in_more_processes_than_it_began_in(work, demos, tmp_path):
    alone = fit(tiny_model(), training_data(Source(demos)), QUICK, tmp_path, about()).state_dict()
    start, expected, found = (flat(one) for one in (tiny_model().state_dict(), alone, work.found["weights"]))
    assert (found - expected).norm() <= 0.01 * (expected - start).norm()
    assert {path.name for path in work.out.iterdir()} - {"first"} == {path.name for path in tmp_path.iterdir()}


def test_the_first_goes_first_and_is_followed(work):
    assert work.found["seen_by"] == 1 and work.found["from_first"] == 0


def test_alone_nothing_is_averaged():
    model = Line()
    model.w.grad = torch.ones(3)
    assert mean_gradients(model, [torch.tensor(2.0)]) == [2.0] and torch.equal(model.w.grad, torch.ones(3))


# ---- the command -------------------------------------------------------------------------------

SMALL = ("policy=points", "policy.head.hidden=32", "policy.head.blocks=1", "init_fusion=null", "optim.threads=1",
         "optim.steps=50", "optim.batch=8", "optim.warmup_steps=5", "optim.learning_rate=3e-3")  # fmt: skip


def torchrun(*words: str) -> subprocess.CompletedProcess:
    start = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "policies.train",
    )
    where = {"cwd": OWN, "env": {**os.environ, "PYTHONPATH": str(OWN)}}
    return subprocess.run([*start, *words], capture_output=True, text=True, check=False, **where)


def test_two_processes_train_to_the_losses_and_weights_of_one(demos, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert ended("train", f"data={demos}", f"out={one}", *SMALL).code == 0
    done = torchrun(f"data={demos}", f"out={two}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("50 steps in") == 1  # process 0 alone speaks
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    alone, together = (load_file(out / checkpoint.WEIGHTS) for out in (one, two))
    assert (flat(together) - flat(alone)).norm() <= 1e-3 * flat(alone).norm()
    (row,), (expected,) = (
        [json.loads(line) for line in (out / loop.LOG).read_text().splitlines()] for out in (two, one)
    )
    assert row.pop("s") and expected.pop("s") and row == pytest.approx(expected, rel=1e-4)


def started_by_torchrun(patch: pytest.MonkeyPatch, rank: int) -> None:
    for name, value in {
        "RUN_ID": "a",
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "RANK": rank,
        "LOCAL_RANK": rank,
    }.items():
        patch.setenv(f"TORCHELASTIC_{name}" if name == "RUN_ID" else name, str(value))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_batch_without_equal_shares_is_one_line_of_the_first(rank, demos, tmp_path, monkeypatch):
    started_by_torchrun(monkeypatch, rank)
    slept: list[float] = []
    monkeypatch.setattr(ranks.time, "sleep", slept.append)
    monkeypatch.setattr(ranks.logging, "disable", lambda level: None)
    found = ended("train", f"data={demos}", f"out={tmp_path / 'out'}", *SMALL, "optim.batch=7")
    line = "error: optim.batch=7, expected a multiple of 2: the processes share a batch\n"
    assert (found.code, found.err) == (2, line)
    assert slept == [ranks.SPEAKS_FIRST_S] * rank  # the second waits to be ended: torchrun does when the first ends
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_more_processes_than_gpus_are_one_line(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_shared(OptimConfig(batch=128, device=device), processes=8, here=2)  # on four machines
    with pytest.raises(
        UserError, match=rf"optim.device={device}: 4 processes need a GPU each, torch finds 2 here; give"
    ):
        check_shared(OptimConfig(batch=128, device=device), processes=4, here=4)
    check_shared(OptimConfig(batch=128, device="cpu"), processes=4, here=4)


def test_a_process_that_ended_is_one_line(monkeypatch):
    def gone(*_, **__) -> None:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1\nmore of it")

    monkeypatch.setattr(ranks, "ranks", lambda: 2)
    monkeypatch.setattr(ranks.distributed, "all_reduce", gone)
    with pytest.raises(
        UserError, match=r"another process of this training ended \(Connection closed .*; run again"
    ) as one:
        mean_gradients(Line())
    assert "\n" not in str(one.value)


def test_an_older_state_goes_on_without_the_options_it_lacks(demos, tmp_path):
    config = dataclasses.asdict(QUICK)
    config.pop("precision")
    loop.check_options(config, QUICK, tmp_path)
    with pytest.raises(UserError, match="begun with optim.precision=float32, not bfloat16"):
        loop.check_options(config, dataclasses.replace(QUICK, precision="bfloat16"), tmp_path)
