"""The wheel: what it carries, and that it works outside of the repository; `make wheel-test` installs it for real."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sim import doctor
from sim.core import config, paths, provenance
from sim.core.errors import UserError
from sim.scene import fixtures

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DATA = "sim/_data"
LEROBOT_WANTS = {"torch": "2.11.0", "numpy": "2.2.6", "pillow": "12.3.0", "packaging": "25.0", "gymnasium": "1.4.0"}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=250, env=alone)


def installed(*command: str, cwd: Path, target: Path) -> subprocess.CompletedProcess:
    """A program of the wheel in `target`. -S: no .pth file, so that the repository's editable install is not seen."""
    places = os.pathsep.join([str(target), sysconfig.get_path("purelib")])
    return run(sys.executable, "-S", "-m", *command, cwd=cwd, PYTHONPATH=places)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ".")
    done = run(sys.executable, "-m", "pip", *build, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def target(wheel, tmp_path) -> Path:
    """The wheel, unpacked as an installation; a folder of its own, for tests that damage it."""
    folder = tmp_path / "site"
    install = ("install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel)
    done = run(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def tracked(*folders: str) -> set[str]:
    """Files of the repository, also those not committed yet."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", *folders)
    listed = run(*command, cwd=ROOT).stdout.split()
    return {name for name in listed if (ROOT / name).is_file()}


def test_the_wheel_carries_the_code_and_its_data_and_nothing_else(wheel):
    plugin = "real/lerobot_robot_fairino_fr3/"  # a distribution of its own
    code = {name for name in tracked("sim", "policies", "rl", "real") if not name.startswith(plugin)}
    data = tracked("conf", "assets/fr3_mjcf", "assets/franka_mjcf", "assets/eye", "assets/fusion", "assets/fusion_full")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == code | {f"{DATA}/{name}" for name in data}


def test_demonstrations_are_collected_outside_of_the_repository(target, elsewhere):
    done = installed("sim.collect", "episodes=2", cwd=elsewhere, target=target)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["runs"]
    info = json.loads((elsewhere / "runs/demos/meta/info.json").read_text())
    assert info["total_episodes"] == 2
    made_of = json.loads((elsewhere / "runs/demos/meta/provenance.json").read_text())
    assert made_of["provenance"]["git"] == ""  # of no checkout, wherever the environment lies


def test_the_shipped_fusion_is_found_from_another_folder(elsewhere, monkeypatch):
    monkeypatch.chdir(elsewhere)
    assert paths.find_asset("assets/fusion") == ROOT / "assets" / "fusion"
    assert paths.find_asset("assets/my_own") == ROOT / "assets" / "my_own"  # named in the error
    assert paths.find_asset("runs/fusion") == Path("runs/fusion")
    assert paths.find_asset("/assets/fusion") == Path("/assets/fusion")
    (elsewhere / "assets" / "fusion").mkdir(parents=True)
    assert paths.find_asset("assets/fusion") == Path("assets/fusion")  # what lies here goes first


def test_a_wheel_without_its_data_says_so_in_one_line(target, elsewhere):
    (target / DATA).rename(target / "sim" / "lost")
    done = installed("sim.collect", "episodes=2", cwd=elsewhere, target=target)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"this installation of fr3-vla has no {target / DATA / 'conf'}; install a wheel" in done.stderr


def test_a_checkout_reads_its_own_files():
    assert paths.CHECKOUT == ROOT == paths.CONF.parent == paths.ASSETS.parent
    assert config.CONF == paths.CONF and provenance.git_commit()
    paths.check_data()


def test_missing_data_is_a_user_error(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ASSETS", tmp_path / "none")
    with pytest.raises(UserError, match="has no .*none; install a wheel"):
        config.group_values("randomize", "full")


@pytest.mark.parametrize("name", LEROBOT_WANTS)
def test_our_ranges_admit_what_lerobot_needs(name):
    """The versions that pip chooses for LeRobot 0.6.1 and fr3-vla together."""
    (ours,) = [one for one in map(Requirement, PROJECT["dependencies"]) if one.name == name]
    assert LEROBOT_WANTS[name] in ours.specifier


def test_constraints_are_exact_and_within_the_ranges():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    exact = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(one.specifier).startswith("==") and len(one.specifier) == 1 for one in exact)
    versions = {normal(one.name): next(iter(one.specifier)).version for one in exact}
    wanted = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
    for requirement in wanted:
        assert versions[normal(requirement.name)] in requirement.specifier, requirement


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_missing_pictures_are_a_user_error(monkeypatch):
    """As on Python 3.13, for which labmaze has no wheel."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"labmaze.* is not installed; README"):
        fixtures._images()


@pytest.mark.parametrize(("version", "good"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_the_doctor_knows_the_pythons_of_the_project(monkeypatch, version, good):
    assert (".".join(map(str, version)) in SpecifierSet(PROJECT["requires-python"])) == good
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert bool(doctor.look_at_python().remedy) != good
