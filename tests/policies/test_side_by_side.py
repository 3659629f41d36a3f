"""Decisions side by side: on the frames as training sees them, by turns; energy by counters of a made-up machine."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, about, tiny_model, write_demos

from policies.benchmark import side_by_side as module
from policies.benchmark.benchmark import PolicyBenchmarkConfig
from policies.benchmark.energy import EnergyMeter
from policies.benchmark.side_by_side import Frames, side_by_side
from policies.core.indicator import Indicator
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, FrameInputs, Source
from policies.runtime.decider import Decider
from sim.core.errors import UserError

POINTS = dataclasses.replace(TINY, fusion=TruePointsConfig())
TOUCH = dataclasses.replace(TINY, touch=True)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("side") / "demos")


@pytest.fixture(scope="module")
def two(tmp_path_factory, demos):
    """Checkpoints that differ in how many steps a chunk takes, 1 and 64."""
    root = tmp_path_factory.mktemp("two")
    for steps in (1, 64):
        torch.manual_seed(0)
        head = dataclasses.replace(TINY.head, euler_steps=steps)
        checkpoint.save(root / str(steps), tiny_model(config=dataclasses.replace(TINY, head=head)), about(demos))
    return [str(root / "64"), str(root / "1")]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "FRAMES", 12)


@pytest.fixture
def powercap(tmp_path):
    """Two packages and a part of one; counters begin anew after 999 and 99 999 uJ."""
    for name, counter, largest in (("intel-rapl:0", 900, 999), ("intel-rapl:1", 50, 99_999), ("intel-rapl:0:0", 7, 9)):
        zone = tmp_path / "powercap" / name
        zone.mkdir(parents=True)
        (zone / "energy_uj").write_text(f"{counter}\n")
        (zone / "max_energy_range_uj").write_text(f"{largest}\n")
    return tmp_path / "powercap"


# ---- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "encoders"),
    [(TINY, {}), (POINTS, {"vision": "", "text": ""}), (TOUCH, {})],
    ids=["images", "true points", "touch"],
)
def test_a_frame_is_decided_on_as_training_sees_it(config, encoders, demos, tmp_path):
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "policy", tiny_model(config=config), about(demos, **encoders))
    frames = Frames(str(demos))
    decider, row = frames.decider(str(tmp_path / "policy")), 17
    look = frames.look(row, decider)
    found = decider.decide(look, look.state, [], torch.Generator().manual_seed(3)).chunk
    inputs = FrameInputs(EpisodeTable(Source(demos)), decider.processor)(np.array([row]))
    expected = decider.policy.act(inputs, torch.Generator().manual_seed(3), Indicator.POSITIVE, 1.0).chunk[0]
    assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_rows_tell_which_policy_takes_longer_and_take_turns(two, demos, monkeypatch):
    asked: list[int] = []
    decide = Decider.decide

    def notes(self, *given):
        asked.append(self.policy.config.head.euler_steps)
        return decide(self, *given)

    monkeypatch.setattr(Decider, "decide", notes)
    table, rows = side_by_side(two, str(demos))
    assert asked == [64, 1] * (12 + module.WARM_UP)
    assert [row["checkpoint"] for row in rows] == two and rows[0]["of_first"] == 1.0
    assert rows[1]["of_first"] < 0.5  # of 64 steps one is left
    assert rows[1]["n"] == 12 and rows[1]["mean_ms"] > 0
    assert rows[0]["parameters"] == sum(one.numel() for one in TINY.build(SPEC).parameters())
    assert table.row_count == 2


def test_looking_is_told_apart_from_acting(two, demos, monkeypatch):
    see = Decider.see

    def slowly(self, *given):
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
        return see(self, *given)

    monkeypatch.setattr(Decider, "see", slowly)
    _, rows = side_by_side(two, str(demos))
    assert all(50 < row["looking_ms"] < row["mean_ms"] for row in rows)
    many, one = (row["mean_ms"] - row["looking_ms"] for row in rows)
    assert one < many / 2  # of 64 steps one is left


def test_a_dataset_of_another_robot_is_one_line(two, demos, monkeypatch):
    frames = Frames(str(demos))
    frames._table.spec = dataclasses.replace(frames._table.spec, robot="other")
    with pytest.raises(UserError, match=f"data={demos} is of robot other, {two[0]} of "):
        frames.decider(two[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"checkpoints": ("a",)}, r"checkpoints=\[a\] data=None: expected both, or neither"),
        ({"data": "d"}, r"checkpoints=\[\] data=d: expected both, or neither"),
        ({"checkpoints": ("a", "a"), "data": "d"}, "expected each once"),
        ({"checkpoints": ("a",), "data": "d", "backend": "onnxruntime"}, "timed alone"),
        ({"checkpoints": ("a",), "data": "d", "baseline": "b"}, "timed alone"),
        ({"baseline": "b", "backend": "onnxruntime"}, "baseline=b backend=onnxruntime: expected one of them"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(given, said):
    with pytest.raises(UserError, match=said):
        PolicyBenchmarkConfig(**given)


# ---- energy ------------------------------------------------------------------------------------


def test_counters_of_packages_are_added_up_and_begin_anew(powercap):
    meter = EnergyMeter(powercap)
    before = meter.read_uj()
    assert not meter.missing and before == [900, 50]  # the part of a package is not counted twice
    (powercap / "intel-rapl:0" / "energy_uj").write_text("100\n")  # 99 to the largest, one to 0, 100 from there
    (powercap / "intel-rapl:1" / "energy_uj").write_text("1050\n")
    assert meter.joules(before) == pytest.approx(1200e-6)


def test_a_decision_has_the_energy_that_was_counted_while_it_was_made(two, demos, powercap, monkeypatch):
    counter, decide = powercap / "intel-rapl:1" / "energy_uj", Decider.decide

    def burns(self, *given):
        counter.write_text(str(int(counter.read_text()) + 10 * self.policy.config.head.euler_steps))
        return decide(self, *given)

    monkeypatch.setattr(Decider, "decide", burns)
    table, rows = side_by_side(two, str(demos), EnergyMeter(powercap))
    assert [row["joules"] for row in rows] == pytest.approx([640e-6, 10e-6])
    assert "energy of the processor" in str(table.caption)


@pytest.mark.parametrize("broken", ["none", "no number"])
def test_what_cannot_be_read_is_said(two, demos, powercap, tmp_path, broken):
    (powercap / "intel-rapl:0" / "energy_uj").write_text("?")
    meter = EnergyMeter(powercap if broken == "no number" else tmp_path / "nothing")
    table, rows = side_by_side(two, str(demos), meter)
    assert [row["joules"] for row in rows] == [None, None]
    expected = "cannot be read (ValueError)" if broken == "no number" else "has no counters of this processor"
    assert expected in str(table.caption)
