"""What is said at a program's end, also where nobody can hear it any more."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from sim.core.errors import UserError
from sim.core.program import run_program

SAYS = """
from sim.core.console import tell
tell("first")
tell("second")
tell("third")
raise SystemExit(7)
"""


def test_a_reader_that_is_gone_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", SAYS], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (7, "")


@dataclass(frozen=True)
class Nothing:
    """No option."""


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UserError("the cause"), "error: the cause", 2),
        (KeyboardInterrupt(), "interrupted; what was finished is kept", 130),
    ],
)
def test_notes_are_told_after_the_error(monkeypatch, capsys, error, line, code):
    def main(config) -> None:
        error.add_note("the stop itself failed")
        raise error

    monkeypatch.setattr(sys, "argv", ["rollout"])
    with pytest.raises(SystemExit) as ended:
        run_program("nameless", Nothing, main, "")
    assert ended.value.code == code
    assert capsys.readouterr().err.splitlines() == [line, "the stop itself failed"]
