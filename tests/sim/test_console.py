"""What programs print: for people, for machines, at a program's end, and where the terminal is gone."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
from rich.table import Table

from sim.core import console
from sim.core.errors import UserError, keeps
from sim.core.program import run_program

LOGS = """
import logging
from sim.core import console
console.set_up({form!r})
log = logging.getLogger("sim.somewhere")
log.info("first")
log.warning("second")
for _ in console.track(range(3), "third"):
    log.info("fourth")
raise SystemExit(7)
"""
_log = logging.getLogger("policies.somewhere")


@pytest.mark.parametrize("form", console.FORMATS)
def test_a_reader_that_is_gone_stops_nothing(form):
    reading, writing = os.pipe()
    os.close(reading)
    code = LOGS.replace("{form!r}", f"'info', {form!r}")
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=writing, timeout=60)
    os.close(writing)
    assert done.returncode == 7


def test_standard_streams_that_are_closed_stop_nothing():
    code = LOGS.replace("{form!r}", "")
    done = subprocess.run(["sh", "-c", f"exec '{sys.executable}' -c \"$0\" >&- 2>&-", code], timeout=60)
    assert done.returncode == 7


def test_on_a_terminal_a_bar_counts_below_what_is_said_meanwhile():
    reading, terminal = os.openpty()
    code = [sys.executable, "-c", LOGS.replace("{form!r}", "")]
    with subprocess.Popen(code, stdin=terminal, stdout=terminal, stderr=terminal) as program:
        os.close(terminal)
        stop = threading.Timer(60, program.kill)
        stop.start()
        shown = b""
        with contextlib.suppress(OSError):  # how Linux ends a terminal's output
            while part := os.read(reading, 4096):
                shown += part
        stop.cancel()
    os.close(reading)
    assert program.returncode == 7
    assert shown.count(b"fourth") == 3 and b"warning: second" in shown and b"third" in shown and b"3/3" in shown


def test_people_read_results_on_standard_output_and_warnings_on_standard_error(capsys):
    console.set_up()
    _log.info("success %.1f %%, [not] markup", 93.25, extra=console.event("evaluated", rate=0.9325))
    _log.warning("little data")
    _log.debug("not shown")
    logging.getLogger("matplotlib").info("not ours")
    shown = capsys.readouterr()
    assert shown.out == "success 93.2 %, [not] markup\n"
    assert shown.err == "warning: little data\n"


def test_a_line_is_not_broken_and_a_table_is_drawn(capsys):
    table = Table("task", "success")
    table.add_row("stack", "99 %")
    _log.info("word " * 60)
    _log.info("rates", extra=console.table("rates", table, rows=[1]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "word " * 60
    assert any("stack" in line and "99 %" in line for line in lines[1:]) and "rates" not in lines[1:]


def test_machines_read_an_event_a_line(capsys):
    console.set_up("debug", "json")
    _log.info("success", extra=console.event("evaluated", rate=0.5))
    _log.error("wrong")
    shown = capsys.readouterr()
    out, err = json.loads(shown.out), json.loads(shown.err)
    assert (out["event"], out["rate"], out["message"], out["level"]) == ("evaluated", 0.5, "success", "info")
    assert (err["message"], err["level"], err["logger"]) == ("wrong", "error", "policies.somewhere")


@dataclass(frozen=True)
class Nothing:
    """No option."""


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UserError("the cause"), "error: the cause", 2),
        (KeyboardInterrupt(), "warning: interrupted; nothing new is kept", 130),
    ],
)
def test_notes_follow_the_error(monkeypatch, capsys, error, line, code):
    def main(config) -> None:
        error.add_note("the stop itself failed")
        raise error

    monkeypatch.setattr(sys, "argv", ["rollout"])
    with pytest.raises(SystemExit) as ended:
        run_program("nameless", Nothing, main, "")
    assert ended.value.code == code
    assert capsys.readouterr().err.splitlines() == [line, "the stop itself failed"]


def test_an_interrupted_program_says_what_is_kept(monkeypatch, capsys):
    def main(config) -> None:
        with keeps(lambda: "2 episodes are kept in runs/demos"):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["collect"])
    with pytest.raises(SystemExit):
        run_program("nameless", Nothing, main, "")
    assert capsys.readouterr().err == "warning: interrupted; 2 episodes are kept in runs/demos\n"
