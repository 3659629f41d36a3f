"""What holds the code together: imports point one way, numpy files stay numpy files, nothing grows too long."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import structure

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sim", "policies", "rl", "real")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 320, 60  # lines
NUMPY_FILES = (
    "sim.core.contract", "sim.robots.robot", "sim.core.errors", "sim.guard.motion_guard", "sim.control.servo",
    "sim.episode.loop", "sim.core.config", "sim.episode.results", "sim.dataset.reader", "sim.dataset.recorder",
    "sim.parallel.workers", "real.workcell.env", "real.fairino.driver", "real.workcell.connect", "real.rollout.rollout",
    "policies.remote.remote_agent",
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

DOCUMENTS = sorted(set(ROOT.glob("*.md")) - {ROOT / "CHANGELOG.md", ROOT / "EXPERIMENTS.md"})  # those tell of the past
NAMED_FILE = re.compile(r"(?<![\w./*-])(?:sim|policies|rl|real|tests|conf|assets)/[\w./-]+\.(?:py|yaml|toml|xml|png)\b")
NAMED_MODULE = re.compile(r"(?<![\w./\"'{-])(?:sim|policies|rl|real)(?:\.[A-Za-z_]\w*)+")
MADE_BY_USERS = ROOT / "conf/randomize/calibrated.yaml"  # by real.calibrate

MODULES = structure.read_modules()


def test_no_folder_imports_one_that_imports_it_back():
    assert structure.mutual_pairs(structure.folder_graph(MODULES)) == []


def test_no_file_stands_in_a_circle():
    assert structure.circles(structure.file_graph(MODULES)) == []


def test_only_programs_lie_loose_and_layers_are_few():
    assert len(structure.loose_modules(MODULES)) <= 8
    for package, bar in (("sim", 8), ("real", 6)):
        assert max(structure.layers(structure.room_graph(MODULES, package)).values()) <= bar


def test_functions_stay_as_short_as_they_were():
    lengths = structure.function_lines(MODULES.values())
    assert statistics.median(lengths) <= 5
    assert statistics.quantiles(lengths, n=10)[-1] <= 14
    assert lengths[-1] <= 50


def test_the_diagram_is_that_of_the_imports():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    assert structure.with_diagram(page, structure.diagram(MODULES)) == page, "run: python tests/structure.py --draw"


def test_the_measure_sees_circles_layers_and_long_ways_round():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d", "f"}, "f": {"e"}}
    assert structure.mutual_pairs(arrows) == [("e", "f")]
    assert structure.circles(arrows) == [["a", "b", "c"], ["e", "f"]]
    assert structure.layers({"top": {"middle", "low"}, "middle": {"low"}, "low": set()}) == {
        "top": 3,
        "middle": 2,
        "low": 1,
    }


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


def test_files_and_modules_that_documents_and_sources_name_are_there():
    texts = {path: path.read_text() for path in (*DOCUMENTS, *SOURCES)}
    files = {(path.name, name) for path, text in texts.items() for name in NAMED_FILE.findall(text)}
    modules = {(path.name, name) for path, text in texts.items() for name in NAMED_MODULE.findall(text)}
    assert len(files) > 20 and len(modules) > 200
    missing = {(path, name) for path, name in files if not ((ROOT / name).exists() or (ROOT / name) == MADE_BY_USERS)}
    assert {(path, name) for path, name in missing if "NAME" not in name} == set()
    assert {(path, name) for path, name in modules if not module_is_there(name)} == set()


def module_is_there(name: str) -> bool:
    """Whether a dotted name begins with a module's, or is of what a package's __init__.py names."""
    at = ROOT
    for part in name.split("."):
        if (at / f"{part}.py").is_file():
            return True
        if not (at / part).is_dir():
            return part in (at / "__init__.py").read_text()
        at /= part
    return True


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
