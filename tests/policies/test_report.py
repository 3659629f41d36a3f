"""The report page: it stands alone, shows what the run's files say, and names what is missing."""

import base64
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from fake_run import write_run
from fr3 import FPS, FR3
from learning import SIZE, make_demo, write_demos

from policies.report.description import RunDescription, Section, Timeline, read_description, write_description
from policies.report.plots import BESIDE, COLOURS, named_lines
from policies.report.recorded import draw, runs
from policies.report.report import ReportConfig, write_report
from rl.run.page import first_of_each, outcomes
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import features
from sim.envs.video import encoded
from sim.episode import results


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_report(ReportConfig(str(run))).read_text()


def test_its_path_is_logged(run, caplog):
    with caplog.at_level(logging.INFO):
        assert write_report(ReportConfig(str(run))) == run / "report.html"
    assert f"report: {run / 'report.html'}" in caplog.messages


def test_it_may_go_into_a_folder_that_is_not_there_yet(run, tmp_path):
    out = tmp_path / "new" / "folder" / "page.html"
    assert write_report(ReportConfig(str(run), out=str(out))) == out
    assert out.read_text().startswith("<!doctype html>")


def test_another_algorithm_is_not_called_recap(tmp_path):
    root = write_run(tmp_path / "run", robot=False, algorithm="all_data")
    assert "after all_data round 1" in write_report(ReportConfig(str(root), videos=0)).read_text()
    assert "all_data by round" in (root / "recap.txt").read_text()


def test_nothing_is_loaded_from_elsewhere(page):
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "<script src" not in page and "@import" not in page


def test_it_shows_success_and_throughput_of_every_round_with_intervals(page):
    assert "imitation" in page and "after recap round 1" in page
    assert len(re.findall(r"\d+\.\d% <i>\(\d+\.\d% to \d+\.\d%\)", page)) == 3  # two rounds and the robot
    assert "13 episodes gained, 0 lost (McNemar" in page


def test_plots_and_videos_are_in_it(page):
    assert page.count("<svg") == 7  # two of them under the videos of labelled rollouts
    assert page.count("data:video/mp4;base64,") == 8  # two a round, two labelled rollouts, two of the robot
    for text in ("gradient step", "success rate, %", "successes an hour", "grounding error, mm", "time, s"):
        assert text in page, f"no axis is labelled {text!r}"


def test_every_curve_is_drawn_and_like_no_other():
    names = [f"loss {i}" for i in range(8)]
    drawn = named_lines({name: ([0, 1], [1.0, 2.0 + i]) for i, name in enumerate(names)}, "step", "loss")
    assert all(name in drawn for name in names)
    curves = re.findall(r'<g id="line2d_\d+">\s*<path d="[^"]*" clip-path[^>]*style="([^"]*)"/>', drawn)
    curves = [style for style in curves if "stroke-width: 1.6" in style]
    assert len(curves) == len(set(curves)) == 8
    assert [sum(colour in style for style in curves) for colour in COLOURS] == [2, 2, 1, 1, 1, 1]


def test_a_curve_below_zero_is_drawn_whole():
    """Of a gain, or of how unlikely something is; what stays above begins at zero."""
    below = named_lines({"gain": ([50, 100], [1.0, -4.0])}, "gradient step", "gain")
    above = named_lines({"flow": ([50, 100], [9.0, 8.0])}, "gradient step", "flow")
    assert "\N{MINUS SIGN}4" in below and ">0</text>" in above


def test_bars_of_what_is_no_stage_of_the_training_are_grey(page):
    assert page.count(f"fill: {BESIDE}") == 2  # the robot's, in either plot


def test_the_value_is_told_in_words(page):
    assert "rank correlation with the return, held-out episodes" in page and "0.71" in page
    assert "spearman" not in page.lower()


def test_plots_do_not_share_names(page):
    """Inline SVGs live in one document: what one plot refers to must not be another's."""
    used = set(re.findall(r"""(?:href="#|url\(#)([^")]+)""", page))
    made = re.findall(r""" id="([^"]+)\"""", page)
    assert used and all(made.count(name) == 1 for name in used)


def test_it_says_what_it_was_made_with(page):
    assert re.search(r"commit [0-9a-f]{10}|commit unknown", page)
    assert "mujoco 4" in page and "torch 2" in page


def test_a_run_without_a_robot_has_a_page_too(tmp_path):
    page = write_report(ReportConfig(str(write_run(tmp_path / "run", robot=False)))).read_text()
    assert "emulated robot" not in page


def test_a_directory_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} holds no results.json and no train.jsonl; make a run"):
        write_report(ReportConfig(str(tmp_path)))


# ---- any run -----------------------------------------------------------------------------------


def evaluate(root, successes: int, n: int = 20) -> None:
    rows = [{"seed": i, "success": i < successes, "steps": 100, "time_s": 5.0} for i in range(n)]
    results.write(root, {**results.summary(rows), "episodes": rows})


def test_a_run_that_describes_nothing_shows_what_lies_in_it(tmp_path):
    evaluate(tmp_path / "a" / "eval", 15)
    evaluate(tmp_path / "b <i>" / "eval", 5)
    cut_off = '\n{"step": 100, "fl'
    (tmp_path / "a" / "train.jsonl").write_text(
        json.dumps({"step": 50, "flow": 0.5, "learning_rate": 1e-3, "s": 9}) + cut_off
    )
    video = encoded([np.zeros((64, 64, 3), np.uint8)] * 4, 20)
    (tmp_path / "a" / "eval" / "episode-3-success.mp4").write_bytes(video)
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    assert "75.0%" in page and "25.0%" in page and page.count("<video") == 1
    assert "flow-matching loss" in page and "learning_rate" not in page
    assert "<td>b &lt;i&gt;/eval" in page and "b <i>" not in page


def test_only_videos_of_the_episodes_that_count_are_shown(tmp_path):
    """An evaluation that was interrupted left the others, of seeds that were not played or ended otherwise."""
    evaluate(tmp_path / "eval", 1, 2)
    for name in ("0-failure", "0-success", "1-failure", "7-success", "odd"):
        (tmp_path / "eval" / f"episode-{name}.mp4").write_bytes(name.encode())
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    shown = re.findall(r"<figcaption>eval, seed (\d+):\s*<b class=(\w+)", page)
    assert shown == [("0", "good"), ("1", "bad")]
    assert all(base64.b64encode(name).decode() in page for name in (b"0-success", b"1-failure"))


@pytest.mark.parametrize(
    "content",
    ["{", "[1]", '{"n": 5, "success_rate": 0.5}', "\xff", '{"n": 2, "ci_low": "x"}'],
)
def test_results_of_something_else_are_named(tmp_path, content):
    evaluate(tmp_path / "good", 1, 2)
    (tmp_path / "results.json").write_text(content, "latin-1")
    with pytest.raises(
        UserError, match=f"{tmp_path}/results.json is broken, expected what policies.evaluate"
    ) as caught:
        write_report(ReportConfig(str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[1]", "{}", '{"title": 3}', '{"title": "a", "novel": 1}', "\xff"])
def test_a_description_of_something_else_is_named(tmp_path, content):
    (tmp_path / "page.json").write_text(content, "latin-1")
    with pytest.raises(UserError, match=f"{tmp_path}/page.json is broken: ") as caught:
        write_report(ReportConfig(str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_videos_can_be_left_out(run):
    assert "<video" not in write_report(ReportConfig(str(run), videos=0)).read_text()


def test_an_evaluation_that_played_nothing_is_left_out(tmp_path):
    evaluate(tmp_path / "full", 3, 4)
    evaluate(tmp_path / "empty", 0, 0)
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    assert "full" in page and "<td>empty" not in page


def test_a_description_is_read_as_it_was_written(tmp_path):
    section = Section("Numbers", columns=("a", "b"), rows=(("1", "<2>"),))
    description = RunDescription("A & B", evaluations={"x": "the policy"}, sections=(section,), config={"seed": 3})
    write_description(tmp_path, description)
    assert read_description(tmp_path) == description
    evaluate(tmp_path / "x", 2, 4)
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    assert "<h1>A &amp; B</h1>" in page and "<td>the policy" in page and "<td>&lt;2&gt;" in page
    (tmp_path / "page.json").write_text("{")
    with pytest.raises(UserError, match=r"page.json is broken"):
        write_report(ReportConfig(str(tmp_path)))


def test_a_recording_is_shown_without_a_trace_in_it(tmp_path):
    root = write_demos(tmp_path / "robot", lengths=(5,))
    evaluate(root, 1, 1)
    before = sorted(root.rglob("*"))
    assert "Recorded: robot" in write_report(ReportConfig(str(tmp_path))).read_text()
    assert sorted(root.rglob("*")) == before


def test_an_episode_that_was_cut_off_tells_no_outcome(tmp_path):
    with DatasetWriter(tmp_path / "robot", features(FR3, SIZE), FPS, FR3.name) as writer:
        for number, fault in enumerate(("network lost", "")):
            demo = make_demo(number, 5)
            told = {"success": False, "robot/fault": fault, "operator/verdict": ""}
            writer.commit(replace(demo, metadata={**demo.metadata, **told}))
    evaluate(tmp_path / "robot", 0, 1)
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    assert re.findall(r"plate:\s*(cut off, no outcome|<b class=\w+>)", page) == ["cut off, no outcome", "<b class=bad>"]
    assert outcomes(Dataset(tmp_path / "robot")) == [None, False]
    assert first_of_each([None, False, True, None, True, False, True], 2) == [2, 4, 1, 5]


@pytest.mark.parametrize("successes", [0, 60])
def test_rates_at_the_ends_are_drawn(tmp_path, successes):
    """Of 60 of 60 the interval's end, as a library computes it, is a rounding below 100 %."""
    rows = [{"seed": i, "success": i < successes, "time_s": 5.0} for i in range(60)]
    results.write(tmp_path / "evaluation", {**results.summary(rows), "episodes": rows})
    assert "<svg" in write_report(ReportConfig(run=str(tmp_path))).read_text()


# ---- the value under its video ------------------------------------------------------------------


def test_frames_are_drawn_at_their_time_and_value():
    svg = draw(Timeline("x", 0, (-0.5, -1.0, -0.25, -0.25), good=(True, True, False, True)))
    assert 'points="0.0,34.0 150.0,90.0 300.0,6.0 450.0,6.0"' in svg  # 600 x 96, the best at 6, the worst at 90
    bands = re.findall(r'class="(good|bad)" x="([\d.]+)" width="([\d.]+)"', svg)
    assert bands == [("good", "0.0", "300.0"), ("bad", "300.0", "150.0"), ("good", "450.0", "150.0")]


def test_runs_of_flags():
    assert list(runs((True, False, False, True))) == [(0, 1, True), (1, 3, False), (3, 4, True)]
    assert list(runs((False,))) == [(0, 1, False)]


def test_a_recording_with_labels_is_shown_with_its_value(tmp_path):
    evaluate(tmp_path / "eval", 2, 4)
    write_demos(tmp_path / "rollouts", lengths=(5,))
    there = Timeline("rollouts", 0, (-0.5,) * 5, (True,) * 5)
    write_description(
        tmp_path,
        RunDescription("run", evaluations={"eval": "it"}, timelines=(there, Timeline("gone", 0, (0.0,), (True,)))),
    )
    page = write_report(ReportConfig(str(tmp_path))).read_text()
    assert page.count("<video") == 1 and page.count('<svg class="timeline"') == 1 and "<script>" in page


def test_what_a_run_draws_under_a_video_is_of_that_episode(run):
    """Oracle: the numbers that the run was made with."""
    lengths = (60, 90, 75, 120)
    description = read_description(run)
    assert description is not None and len(description.timelines) == 2
    for one in description.timelines:
        n, first = lengths[one.episode], sum(lengths[: one.episode])
        assert one.dataset == "round_1/rollouts"
        assert one.value == pytest.approx(np.linspace(-n / 300, 0, n))
        assert one.good == tuple((first + i) % 3 > 0 for i in range(n))
