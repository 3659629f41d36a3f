"""The benchmark: times come from the programs' own records, checkouts take turns, a broken one is one line."""

import json
from pathlib import Path

import pytest

from policies.benchmark.benchmark import TITLES, PolicyBenchmarkConfig, measure, step_times_ms
from sim.core.checkout import Checkout
from sim.core.comparison import comparison_table, medians
from sim.core.errors import UserError


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
    trained, played = measure(checkouts, PolicyBenchmarkConfig(repeats=2, plays=3))
    assert medians(trained)["this"]["training_step_ms"] == pytest.approx(200)
    assert medians(trained)["baseline"]["training_step_ms"] == pytest.approx(250)
    assert [name for name, program in runs if program == "policies.train"] == ["this", "baseline"] * 2
    assert [name for name, program in runs if program == "policies.evaluate"] == ["this", "baseline"] * 3
    ratio = [list(comparison_table(found, titles(found)).columns[-1].cells) for found in (trained, played)]
    assert ratio == [["0.800"], ["1.000"]]


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
