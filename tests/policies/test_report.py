"""The report page: it stands alone, shows what the run's files say, and names what is missing."""

import re

import pytest
from fake_run import write_run

from policies.report import ReportConfig, write_report
from sim.core.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_report(ReportConfig(str(run))).read_text()


def test_its_path_is_printed(run, capsys):
    assert write_report(ReportConfig(str(run))) == run / "report.html"
    assert str(run / "report.html") in capsys.readouterr().out


def test_nothing_is_loaded_from_elsewhere(page):
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "<script" not in page and "@import" not in page


def test_it_shows_success_and_throughput_of_every_round_with_intervals(page):
    assert "imitation" in page and "after RECAP round 1" in page
    assert len(re.findall(r"\d+\.\d% <i>\(\d+\.\d% to \d+\.\d%\)", page)) == 3  # two rounds and the robot
    assert "13 episodes gained, 0 lost (McNemar" in page


def test_plots_and_films_are_in_it(page):
    assert page.count("<svg") == 5
    assert page.count("data:video/mp4;base64,") == 6  # two a round, two of the robot
    for text in ("gradient step", "success rate, %", "successes an hour", "grounding error, mm", "time, s"):
        assert text in page, f"no axis is labelled {text!r}"


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
    with pytest.raises(UserError, match="holds no recap.json; make one with python -m rl.recap"):
        write_report(ReportConfig(str(tmp_path)))
