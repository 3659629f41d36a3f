"""How long threads wait, as libgomp itself says when torch has loaded it."""

import os
import re
import subprocess
import sys

import pytest


def turns(package: str, **given: str) -> str:
    """What libgomp prints as its GOMP_SPINCOUNT in a new process that imports the package, then torch."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    ran = subprocess.run(
        [sys.executable, "-c", f"import {package}, torch"],
        env=kept | {"OMP_DISPLAY_ENV": "VERBOSE"} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"GOMP_SPINCOUNT = '(\d+)'", ran.stderr)[-1]


@pytest.mark.parametrize("package", ["sim", "policies", "rl", "real"])
def test_threads_of_every_program_spin_briefly(package):
    assert turns(package) == "20000"


def test_what_the_user_says_of_waiting_stands():
    assert turns("sim", OMP_WAIT_POLICY="PASSIVE") == "0"
    assert turns("sim", GOMP_SPINCOUNT="7") == "7"
