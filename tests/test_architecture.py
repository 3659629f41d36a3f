"""What holds the code together: imports point one way, numpy files stay numpy files, nothing grows too long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sim", "policies", "rl", "real")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 320, 60  # lines
NUMPY_FILES = (
    "sim.core.contract", "sim.robots.robot", "sim.core.errors", "sim.guard.motion_guard", "sim.control.servo",
    "sim.episode.loop", "sim.core.config", "sim.episode.results", "sim.dataset.reader", "sim.dataset.recorder",
    "sim.parallel.workers", "real.workcell.env", "real.fairino.driver", "real.workcell.connect", "real.rollout.rollout",
)  # fmt: skip
# A finder that refuses, not None in sys.modules: scipy asks there whether an array is torch's.
BLOCK = """
import sys, importlib.abc

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mujoco", "torch"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
"""


def test_imports_point_one_way():
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout


def test_what_the_robot_shares_imports_without_mujoco_and_torch():
    imports = "; ".join(f"import {name}" for name in NUMPY_FILES)
    done = subprocess.run([sys.executable, "-c", f"{BLOCK}{imports}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    blocked = subprocess.run(
        [sys.executable, "-c", f"{BLOCK}import sim.envs.simulation"], cwd=ROOT, capture_output=True
    )
    assert blocked.returncode == 1  # or nothing was blocked


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
