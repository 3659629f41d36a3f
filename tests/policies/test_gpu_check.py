"""The check of a GPU, on the CPU: what it prints, and that it notices what differs."""

import json

import pytest
import torch
from learning import write_demos
from programs import ended

from policies import gpu_check
from policies.models.vla import Vla


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    demos = write_demos(tmp_path_factory.mktemp("check") / "demos")
    return ("device=cpu", f"data={demos}", "policy=points", "batch=8", "steps=2", "decisions=3", "log_format=json")


@pytest.fixture
def trained(monkeypatch):
    """Weights by number of processes, instead of trainings."""
    weights = {1: torch.ones(9), 2: torch.ones(9) + 1e-6}
    monkeypatch.setattr(gpu_check, "trained", lambda processes, *_: weights[processes])
    return weights


def rows(out: str) -> dict[str, dict]:
    (found,) = [event for event in map(json.loads, out.splitlines()) if event.get("event") == "gpu_check"]
    return {row["what"]: row for row in found["rows"]}


def test_the_cpu_is_as_the_cpu(words, trained):
    found = ended("gpu_check", *words)
    assert (found.code, found.err) == (0, "")
    table = rows(found.out)
    assert list(table) == [
        "loss on cpu and cpu", "gradient on cpu and cpu", "cached features on cpu and fresh ones on cpu",
        "weights of two processes and one, on cpu", "training step, float32", "training step, bfloat16",
        "decision, images encoded on the cpu",
    ]  # fmt: skip
    assert table["loss on cpu and cpu"]["difference"] == 0 and not any(row["differs"] for row in table.values())
    assert table["training step, float32"]["found"].endswith("samples/s")


def test_what_differs_ends_with_1(words, trained, monkeypatch):
    trained[2] = torch.full((9,), torch.nan)
    loss, times = Vla.loss, iter((1.0, 1.0005))

    def other_loss(policy, batch, generator):
        total, parts = loss(policy, batch, generator)
        return total * next(times, 1.0), parts

    monkeypatch.setattr(Vla, "loss", other_loss)
    found = ended("gpu_check", *words)
    differing = [name for name, row in rows(found.out).items() if row["differs"]]
    assert found.code == 1
    assert differing == ["loss on cpu and cpu", "weights of two processes and one, on cpu"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(("device", "line"), [
    ("auto", "error: device=auto: torch finds no GPU here; device=cpu runs the same checks on the CPU\n"),
    ("cuda", "error: device=cuda: torch finds no GPU here; give device=cpu or device=auto\n"),
])  # fmt: skip
def test_without_a_gpu_it_says_so(device, line):
    found = ended("gpu_check", f"device={device}")
    assert (found.code, found.err, found.out) == (2, line, "")


@pytest.mark.slow
def test_processes_are_compared_by_their_real_commands(words):
    found = ended("gpu_check", *words)
    assert found.code == 0 and 0 <= rows(found.out)["weights of two processes and one, on cpu"]["difference"] < 1e-4
