"""The view: a video and a contact sheet without a display, MuJoCo's window with one."""

import subprocess
import sys
from types import SimpleNamespace

import glfw
import imageio.v3 as imageio
import mujoco.viewer
import numpy as np
import pytest

from sim import view
from sim.core.errors import UserError


def test_without_a_display_it_writes_video_and_sheet(tmp_path):
    """One is named that nobody serves, as after an ssh -X that has gone."""
    command = [sys.executable, "-m", "sim.view", "seed=3", f"out={tmp_path}"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DISPLAY": ":99"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "DISPLAY=:99 cannot be opened: video and contact sheet" in done.stdout
    assert 'seed 3, "' in done.stdout and "success after" in done.stdout
    sheet = imageio.imread(tmp_path / "seed-3.png")
    assert sheet.shape == (view.ROWS * 320, view.COLUMNS * 640, 3) and sheet.std() > 10
    assert (tmp_path / "seed-3.mp4").stat().st_size > 10_000


def test_no_display_is_told(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    assert view.no_window() == "no display"


def test_the_sheet_reads_from_first_to_last():
    frames = np.arange(120, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 5, 3), np.uint8)
    sheet = view.contact_sheet(frames)
    assert sheet.shape == (2 * view.ROWS, 5 * view.COLUMNS, 3)
    moments = sheet[::2, ::5, 0].ravel().tolist()
    assert moments == sorted(moments) and (moments[0], moments[-1]) == (0, 119)


def test_with_a_display_every_step_is_shown(monkeypatch):
    shown = []
    window = SimpleNamespace(sync=lambda: shown.append(1), is_running=lambda: False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(glfw, "init", lambda: 1)
    monkeypatch.setattr(glfw, "terminate", lambda: None)
    monkeypatch.setattr(mujoco.viewer, "launch_passive", lambda model, data: window)
    monkeypatch.setattr(view.time, "sleep", lambda _: None)
    view.main(view.ViewConfig(act="nothing"))
    assert len(shown) == 300  # the time limit, 15 s


def test_an_unknown_act_is_named():
    with pytest.raises(UserError, match="unknown act 'expret'.*did you mean 'expert'"):
        view.ViewConfig(act="expret")
