"""The doctor names what is missing and the line that mends it."""

import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from fr3 import FR3

from sim import doctor
from sim.core.errors import UserError
from sim.envs.simulation import Simulation

ROOT = FR3.mjcf.parents[2]


def test_a_good_machine_needs_nothing():
    done = subprocess.run([sys.executable, "-m", "sim.doctor"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("mujoco", "torch", "numpy"):
        assert re.search(rf"{name} .*{re.escape(metadata.version(name))}", done.stdout), name
    assert "everything is there" in done.stdout and "images of 96 px a second" in done.stdout


def test_a_python_without_the_environment_is_told_how_to_get_it(monkeypatch):
    """-I -S: the standard library alone."""
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['-m']; runpy.run_module('sim.doctor')"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "has no gymnasium; run `make setup`, then `. .venv/bin/activate`" in done.stderr
    monkeypatch.setattr(doctor, "PROJECT", "no-such-project")
    (finding,) = doctor.look_at_packages()
    assert finding.found == f"not installed in {sys.prefix}" and "make setup" in finding.remedy


def test_help_examines_nothing(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", None)
    monkeypatch.setattr(sys, "argv", ["doctor", "--help"])
    doctor.main()
    assert capsys.readouterr().out.strip() == (doctor.__doc__ or "").strip()


def test_a_missing_and_an_old_package_are_named(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy<1.0", "no-such-package>=2", 'other; extra == "dev"'])
    old, missing = doctor.look_at_packages()
    assert (old.name, old.remedy) == ("numpy", "python -m pip install 'numpy<1.0'")
    assert f"{metadata.version('numpy')}, expected <1.0" == old.found
    assert (missing.found, missing.remedy) == ("not installed", "python -m pip install 'no-such-package>=2'")


@pytest.mark.parametrize(
    "error", [UserError("no EGL library"), RuntimeError("cannot draw\nlong story"), RuntimeError()]
)
def test_what_cannot_draw_is_told_what_to_install(monkeypatch, error):
    monkeypatch.setattr(Simulation, "render", lambda *_: (_ for _ in ()).throw(error))
    finding = doctor.look_at_drawing()
    said = str(error) or "RuntimeError"  # a driver may say nothing
    assert finding.found == said.splitlines()[0] and "libegl1" in finding.remedy


def test_the_second_renderer_is_missed_by_nobody_else(monkeypatch):
    def missing() -> None:
        raise UserError("no Vulkan; apt-get install it")

    monkeypatch.setattr(doctor, "check_vulkan", missing)
    finding = doctor.look_at_vulkan()
    assert "apt-get install it" in finding.found and not finding.remedy


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "NEEDED_DISK_GB", 1e9)
    disk = doctor.look_at_machine(tmp_path)[-1]
    assert "1000000000 GB free" in disk.remedy


def test_something_to_mend_is_exit_code_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["doctor"])
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("GL", "none", "install it")])
    with pytest.raises(SystemExit) as stopped:
        doctor.main()
    assert stopped.value.code == 1 and "missing: GL" in capsys.readouterr().out


def test_mujoco_imported_before_sim_is_told():
    """It has chosen windows by then; without a display nothing can be drawn."""
    code = "import mujoco; from sim.render.gl import check_gl\ncheck_gl()"
    hidden = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    alone = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=alone)
    assert "mujoco was imported before sim" in done.stderr and "MUJOCO_GL=egl" in done.stderr
    other = code.replace("import mujoco;", "import sim, mujoco;")
    assert subprocess.run([sys.executable, "-c", other], capture_output=True, env=alone).returncode == 0
