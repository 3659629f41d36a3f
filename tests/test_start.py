"""Programs as a user starts them: with nothing in the environment, and interrupted before they have begun."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import PROGRAMS

ROOT = Path(__file__).resolve().parent.parent
TEXT = "".join((ROOT / name).read_text() for name in ("README.md", "USAGE.md"))
NAMED = sorted(set(re.findall(r"python -m ((?:sim|policies|rl|real)\.\w+)", TEXT)))
EMPTY = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"]}


# Forks a process that has imported torch for every program, which would take most of the time; MuJoCo and what else
# belongs to this project is imported by the program itself.
FORKED = """
import json, os, runpy, sys, tempfile, hydra, torch

ended = {}
for module, word in json.loads(sys.argv[1]).items():
    with tempfile.TemporaryFile() as said:
        if not (child := os.fork()):
            os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
            sys.argv, code = [module, word], 0
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                code = end.code or 0
            except BaseException as error:
                print(repr(error))
                code = 1
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        ended[module] = code, said.read().decode()
print(json.dumps(ended))
"""


def start(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env={**EMPTY, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip


def test_readme_and_usage_name_programs_of_every_package():
    assert {name.partition(".")[0] for name in NAMED} == {"sim", "policies", "rl", "real"} and len(NAMED) > 15


@pytest.mark.timeout(900)
def test_every_program_starts_in_an_empty_environment():
    """No display, no MUJOCO_GL: as under `env -i HOME=... PATH=...`; a slip is a line and exit code 2."""
    modules = {program.module: "sedd=1" for program in PROGRAMS.values()}
    modules = {name: "--help" for name in NAMED} | modules
    done = subprocess.run(
        [sys.executable, "-c", FORKED, json.dumps(modules)], cwd=ROOT, env=EMPTY, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    ended = json.loads(done.stdout)
    wrong = {name: said for name, (code, said) in ended.items() if code != (2 if modules[name] == "sedd=1" else 0)}
    assert {name: said[-300:] for name, said in wrong.items()} == {}
    said = {name: text for name, (_, text) in ended.items() if modules[name] == "sedd=1"}
    assert {name for name, text in said.items() if not re.fullmatch(r"error: unknown option 'sedd'.*\n", text)} == set()


@pytest.mark.parametrize("program", ["policies.value_map", "policies.report"])
def test_a_plot_window_that_a_shell_names_and_matplotlib_does_not_know_is_left_alone(program):
    done = start(program, "--help", MPLBACKEND="Qt4Agg")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_emulator_draws_and_serves_in_an_empty_environment():
    """Not --help alone: what imports MuJoCo before `sim` has chosen how to draw fails when its cameras open."""
    ports = [f"{name}_port=0" for name in ("rpc", "state", "cnde", "servo", "text", "camera", "bench")]
    done = start("real.emulator", "end_with_stdin=true", "render.height=32", "render.width=32", *ports)
    assert done.returncode == 0, done.stderr
    assert "ready on 127.0.0.1" in done.stdout + done.stderr


@pytest.mark.parametrize("program", ["sim.collect", "policies.train", "rl.recap", "real.rollout"])
def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path, program):
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")  # in the middle of every program's imports
    done = start(program, PYTHONPATH=str(tmp_path))
    assert done.stderr == "warning: interrupted; nothing new is kept\n"
    assert done.returncode == -signal.SIGINT
