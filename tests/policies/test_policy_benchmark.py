"""The benchmark: times come from the programs' own records, checkouts take turns, a broken one is one line."""

import contextlib
import dataclasses
import json
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from learning import TINY, about, tiny_model, write_demos
from torch import nn

from policies.benchmark import benchmark as module
from policies.benchmark import work
from policies.benchmark.benchmark import TITLES, PolicyBenchmarkConfig, measure, step_times_ms
from policies.benchmark.work import matrix_gflops, sample_gflop, spinning
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from sim.core.checkout import Checkout
from sim.core.comparison import comparison_table, medians
from sim.core.errors import UserError

POINTS = dataclasses.replace(TINY, fusion=TruePointsConfig())


@pytest.fixture(autouse=True)
def no_real_policy(monkeypatch):
    """Fakes train none, whose work could be counted."""
    monkeypatch.setattr(module, "sample_gflop", lambda root, demos: 1.5)


class Fake:
    """A checkout whose training step takes `step_s` and whose decision takes 10 ms."""

    def __init__(self, name: str, step_s: float, runs: list):
        self.name, self.step_s, self.runs = name, step_s, runs

    def run(self, program: str, *words: str) -> None:
        self.runs.append((self.name, program))
        options = dict(word.split("=", 1) for word in words)
        if program == "policies.train":
            out = Path(options["out"])
            out.mkdir(parents=True)
            rows = [{"step": step, "s": 100 + self.step_s * step} for step in (50, 100, 150)]
            (out / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if program == "policies.evaluate":
            assert Path(options["checkpoint"]).is_dir()
            out = Path(options["out"])
            out.mkdir()
            (out / "results.json").write_text(json.dumps({"decision_ms_median": 10.0}))


def test_checkouts_take_turns_and_their_ratio_is_printed():
    runs: list = []
    checkouts = {"this": Fake("this", 0.2, runs), "baseline": Fake("baseline", 0.25, runs)}
    trained, played, gflop = measure(checkouts, PolicyBenchmarkConfig(repeats=2, plays=3))
    assert medians(trained)["this"]["training_step_ms"] == pytest.approx(200)
    assert medians(trained)["baseline"]["training_step_ms"] == pytest.approx(250)
    assert [name for name, program in runs if program == "policies.train"] == ["this", "baseline"] * 2
    assert [name for name, program in runs if program == "policies.evaluate"] == ["this", "baseline"] * 3
    ratio = [list(comparison_table(found, titles(found)).columns[-1].cells) for found in (trained, played)]
    assert [ratio[0][:2], ratio[1]] == [["0.800", "1.250"], ["1.000"]]
    assert medians(trained)["this"]["samples_a_second"] == pytest.approx(128 / 0.2)
    assert gflop == 1.5


def test_training_beside_busy_processors_takes_turns_with_training_alone(monkeypatch):
    fake = Fake("this", 0.2, [])
    monkeypatch.setattr(module.Checkout, "own", lambda: fake)
    busy: list[int] = []
    monkeypatch.setattr(module, "spinning", lambda count: contextlib.nullcontext(busy.append(count)))
    found, _ = module.measure_busy(PolicyBenchmarkConfig(repeats=2, busy=3))
    assert list(found) == ["beside 3 that spin", "alone"] and busy == [3, 3]
    assert [program for _, program in fake.runs] == ["sim.collect", *["policies.train"] * 4]


def test_what_a_step_uses_stands_under_the_table(caplog):
    row = {"training_step_ms": 200.0, "samples_a_second": 640.0, "matrix_gflops": 64.0}
    with caplog.at_level("INFO"):
        module._show({"alone": [row]}, 0.05)
    assert caplog.records[-1].content.caption == "0.050 GFLOP a sample, of the matrix rate alone 50%"  # 32 of 64


# ---- what it is measured by --------------------------------------------------------------------


def test_processes_that_spin_do_so_and_end():
    with spinning(2):
        begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        time.sleep(1)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begun > 0.1  # of children that have ended alone


def test_the_matrix_rate_counts_a_product_and_a_sum_for_each_of_its_terms(monkeypatch):
    monkeypatch.setattr(work, "median_ms", lambda call: 2.0)
    assert matrix_gflops(1) == pytest.approx(2 * 1024**3 / 2e-3 / 1e9)


def test_the_work_of_a_sample_is_that_of_its_linear_maps_forwards_and_backwards(tmp_path):
    """Against what hooks count forwards: backwards costs as much for the weights, and for inputs that learn again."""
    demos = write_demos(tmp_path / "demos")
    policy = tiny_model(config=POINTS)
    checkpoint.save(tmp_path / "policy", policy, about(demos, vision="", text=""))
    found = sample_gflop(tmp_path / "policy", demos)
    forwards = [0]

    def count(layer, _, out):
        forwards[0] += 2 * out.numel() * layer.in_features

    for layer in policy.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(count)
    data = TrainingData([EpisodeTable(Source(demos))], ObservationProcessor(policy))
    policy.loss(data.sample(np.random.default_rng(0), work.SAMPLES), torch.Generator().manual_seed(0))
    assert 2 <= found * 1e9 * work.SAMPLES / forwards[0] <= 3.2


def titles(found: dict) -> dict[str, str]:
    return {key: TITLES[key] for key in found["this"][0]}


def test_the_first_steps_do_not_count(tmp_path):
    rows = [{"step": 50, "s": 60.0}, {"step": 100, "s": 65.0}, {"step": 150, "s": 75.0}]
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert step_times_ms(tmp_path / "log") == pytest.approx([100.0, 200.0])


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is no checkout of this repository"):
        Checkout(tmp_path)


def test_a_program_that_fails_in_a_checkout_is_one_line():
    with pytest.raises(UserError, match=r"sim.collect of .* ended with exit code 2: .*unknown option 'sedd'"):
        Checkout.own().run("sim.collect", "sedd=1")
