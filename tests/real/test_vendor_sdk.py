"""`make test-sdk` on a stand-in for the vendor's package: what it counts and prints."""

import types

import pytest
import vendor_sdk
from running import HOST

from real.workcell.episode_setup import EmulatedBench, EpisodeSetup
from sim.core.errors import UserError

ROBOT = """
import xmlrpc.client
sdk = ["SDK:V2.1.5", "Robot:V3.8.5"]

class RPC:
    def __init__(self, ip):
        self.robot = xmlrpc.client.ServerProxy(f"http://{ip}:20003")
"""
EXAMPLES = {
    "runs.py": "robot = Robot.RPC('192.168.58.2').robot\nrobot.SetSpeed(20)\nrobot.WeldingSetVoltage(0, 20.0, 0, 0)",
    "refused.py": "Robot.RPC('192.168.58.2').robot.MoveGripper(9, 1, 1, 1, 1, 1, 0, 0.0, 0, 0)",
    "unserved.py": "Robot.RPC('192.168.58.2').robot.WeaveStart(0)",
    "helper.py": "import time",
    "imports.py": "import helper\nRobot.RPC('192.168.57.2').robot.GetControllerIP()",
    "broken.py": "Robot.NoSuchName",
}


@pytest.fixture
def sdk(tmp_path):
    for folder in ("fairino", "example"):
        (tmp_path / folder).mkdir()
    (tmp_path / "fairino" / "Robot.py").write_text(ROBOT)
    for name, source in EXAMPLES.items():
        (tmp_path / "example" / name).write_text("from fairino import Robot\n" + source)
    return tmp_path


def test_calls_and_endings_are_counted(sdk, monkeypatch, capsys):
    monkeypatch.setattr(vendor_sdk, "HOST", "127.0.0.9")
    assert vendor_sdk.main(str(sdk)) == 1  # the stand-in has no MoveJ
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "SDK for controller V3.8.5"
    endings = {name: next(line for line in lines if line.split()[0] == name) for name in EXAMPLES}
    assert all(endings[name].endswith("ran") for name in ("runs.py", "refused.py", "helper.py", "imports.py"))
    assert endings["unserved.py"].endswith("'not served by this emulator: WeaveStart'>")
    for count in ("4 ran", "1 asked for what the emulator does not serve", "1 does not fit its own SDK"):
        assert count in lines[-4]
    assert lines[-3] == "calls: 5; methods tried 5, answered 3, refused 1, not served 1"
    assert lines[-2:] == ["refused: MoveGripper (73)", "not served: WeaveStart"]


def test_a_folder_without_the_package_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected a folder that holds the vendor's package `fairino`"):
        vendor_sdk.main(str(tmp_path))


def test_an_arm_that_an_example_left_leaning_on_something_begins_anew(running):
    class Leaning(EmulatedBench):
        """The arm presses on something until it is placed elsewhere: a collision is found again after every reset."""

        def prepare(self, seed: int) -> EpisodeSetup:
            running.controller.collide()
            return super().prepare(seed)

    bench = Leaning(running.address("bench_port"))
    vendor_sdk.recover(bench, types.SimpleNamespace(host=HOST, ports=running.ports))
    assert running.controller.enabled and not running.controller.collided
    bench.close()
