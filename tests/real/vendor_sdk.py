"""`make test-sdk SDK=DIR [SDK_PYTHON=PROGRAM] [FIRMWARE=RELEASE]`: run the vendor's own SDK and its examples on the
emulator; print calls tried, answered, refused and not served.

DIR holds the vendor's package `fairino`, of any release, and its examples in DIR/example. Each example runs in a
process of its own, for TIMEOUT_S at most, with the controller's address replaced by the emulator's. SDK_PYTHON: a
Python that has what the SDK imports (Cython in V3.7.6); this one where none is named. FIRMWARE: of the emulator; what
the SDK states itself where none is named (SDK 2.2.6, of V3.9.6, states V3.9.5).
"""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xmlrpc.client
from pathlib import Path

from real.core.faults import RobotUnreachable
from real.fairino.driver import FairinoDriver
from real.fairino.fault_codes import UNKNOWN_METHOD
from real.fairino.ports import Ports
from real.soak.servo_trials import RECOVER
from real.workcell.emulator_process import EmulatorProcess
from real.workcell.episode_setup import EmulatedBench
from sim.core.errors import UserError

HOST = "127.0.0.1"
PORTS = {
    "rpc_port": 20003, "state_port": 20004, "cnde_port": 20005, "servo_port": 20007, "text_port": 8080,
    "camera_port": 0, "bench_port": 0,
}  # fmt: skip
CONTROLLER = re.compile(r"192\.168\.5[78]\.2\b")  # its two ports' addresses as delivered
TRIES = 5
TIMEOUT_S, SMOKE_TIMEOUT_S = 15.0, 90.0  # many examples never end
# Runs in the SDK's process, before the SDK is imported: record every call on the wire and how it ended.
RECORDER = """
import json, sys, xmlrpc.client
calls = open(sys.argv[1], "w", buffering=1)  # a line at once: an example that never ends is killed
request = xmlrpc.client.ServerProxy._ServerProxy__request

def recorded(self, method, params):
    try:
        answer = request(self, method, params)
    except xmlrpc.client.Fault as fault:
        print(json.dumps((method, fault.faultCode, fault.faultString)), file=calls)
        raise
    code = answer[0] if isinstance(answer, list) and answer else answer
    print(json.dumps((method, code if isinstance(code, int) else 0, "")), file=calls)
    return answer

xmlrpc.client.ServerProxy._ServerProxy__request = recorded
source = open(sys.argv[2], encoding="utf8").read()
exec(compile(source, sys.argv[2], "exec"), {"__name__": "__main__"})
"""
SMOKE = """
import time
from fairino import Robot
robot = Robot.RPC("{host}")

def at_rest():  # joints as the SDK's own thread has them, once the controller answers the same: it may be late
    for _ in range(200):
        error, joints = robot.GetActualJointPosDegree()
        if error == 0 and max(abs(a - b) for a, b in zip(joints, robot.robot.GetActualJointPosDegree(1)[1:])) < 0.01:
            return joints
        time.sleep(0.1)
    raise AssertionError("the SDK's joints are not those of the controller")

assert all(getattr(Robot.RPC, name, True) is not False for name in ("is_connect", "is_conect"))  # by release
print(robot.GetSoftwareVersion(), robot.GetControllerIP())
assert robot.Mode(0) == 0 and robot.RobotEnable(1) == 0
joints = at_rest()
assert robot.MoveJ([joints[0] + 5, *joints[1:]], 0, 0) == 0
at_rest()
error, pose = robot.GetActualTCPPose()
pose = [*pose[:2], pose[2] + 20, *pose[3:]]
assert robot.MoveL(pose, 0, 0) == 0, "MoveL"
joints = at_rest()
assert robot.ServoMoveStart() == 0
for k in range(500):
    error = robot.ServoJ(joints, [0, 0, 0, 0])
    assert error == 0, error
    joints[0] += 0.02
    time.sleep(0.008)
assert robot.ServoMoveEnd() == 0
robot.CloseRPC()
"""


def release_of(sdk: Path) -> str:
    """Return the controller release that the SDK was made for, as it states itself. UserError where it does not."""
    module = sdk / "fairino" / "Robot.py"
    text = module.read_text(encoding="utf8") if module.is_file() else ""
    found = re.search(r"Robot:\s*V(\d+\.\d+\.\d+)", text)
    if not found:
        raise UserError(
            f"SDK={sdk}: fairino/Robot.py {'names no controller release' if text else 'is missing'}; "
            "expected a folder that holds the vendor's package `fairino`"
        )
    return found[1]


def run(source: str, sdk: Path, python: str, timeout_s: float = TIMEOUT_S) -> tuple[str, list]:
    """Run a program with the SDK: how it ended, and its calls as (method, code or fault, text)."""
    with tempfile.TemporaryDirectory() as folder:
        program, calls = Path(folder) / "program.py", Path(folder) / "calls.json"
        program.write_text(source, encoding="utf8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(sdk), str(sdk / "example")])}
        command = [python, "-c", RECORDER, str(calls), str(program)]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=timeout_s,
            )  # fmt: skip
            ending = "ran" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]
        except subprocess.TimeoutExpired:
            ending = f"still running after {timeout_s:g} s"
        return ending, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def begin_anew(bench: EmulatedBench, process: EmulatorProcess) -> None:
    """Bring the arm back and reset what the example before has left: while faulted every query answers 14, whose lack
    of values the SDK unpacks. On a busy machine the state may come too late for the driver: try again."""
    for attempt in range(TRIES):
        try:
            recover(bench, process)
        except RobotUnreachable:
            if attempt == TRIES - 1:
                raise
        else:
            return


def recover(bench: EmulatedBench, process: EmulatorProcess) -> None:
    with xmlrpc.client.ServerProxy(f"http://{process.host}:{process.ports['rpc_port']}") as proxy:
        proxy.DragTeachSwitch(0)
    with FairinoDriver(process.host, Ports.of(process.ports)) as driver:
        driver.stop()
    bench.prepare(0)  # first: an arm that leans on something would collide anew
    for what in RECOVER:
        bench.inject(what)
    with FairinoDriver(process.host, Ports.of(process.ports)) as driver:  # anew: the arm was placed elsewhere at once
        driver.power_on()  # as the examples presuppose


def summary(calls: list) -> list[str]:
    """Return the lines that count calls as answered with 0, refused with another code, and not served."""
    tried = {method for method, _, _ in calls}
    answered = {method for method, code, _ in calls if code == 0}
    unserved = {method for method, code, _ in calls if code == UNKNOWN_METHOD}
    refused = {
        method: sorted({code for name, code, _ in calls if name == method})
        for method in sorted(tried - answered - unserved)
    }
    codes = (f"{method} ({', '.join(map(str, found))})" for method, found in refused.items())
    return [
        f"calls: {len(calls)}; methods tried {len(tried)}, answered {len(answered)}, refused {len(refused)}, "
        f"not served {len(unserved)}",
        f"refused: {', '.join(codes) or 'none'}",
        f"not served: {', '.join(sorted(unserved)) or 'none'}",
    ]


def ending_kind(ending: str) -> str:
    """Return what kind of end an example had: whose doing it was."""
    if ending == "ran" or ending.startswith("still running"):
        return ending
    if "not served by this emulator" in ending:
        return "asked for what the emulator does not serve"
    if (
        "missing" in ending
        and "positional argument" in ending
        or ending.startswith(("ModuleNotFoundError", "AttributeError"))
    ):
        return "does not fit its own SDK, or needs a module that the SDK does not bring"
    return "ended by another error"


def main(folder: str, python: str = sys.executable, firmware: str | None = None) -> int:
    """Run the smoke test and every example; exit code 1 when the smoke test fails."""
    sdk = Path(folder).resolve()
    firmware = firmware or release_of(sdk)
    python = os.path.abspath(shutil.which(python) or python)  # examples run in a folder of their own
    print(f"SDK for controller V{firmware}")
    with EmulatorProcess((32, 32), firmware=firmware, host=HOST, **PORTS) as process:
        bench = EmulatedBench((process.host, process.ports["bench_port"]))
        smoke, calls = run(SMOKE.format(host=HOST), sdk, python, SMOKE_TIMEOUT_S)
        print(f"connect, read, move, stream 500 ServoJ: {smoke}; {len(calls)} calls")
        endings: collections.Counter[str] = collections.Counter()
        every = list(calls)
        for path in sorted((sdk / "example").glob("*.py")):
            source = CONTROLLER.sub(HOST, path.read_text(encoding="utf8", errors="replace"))
            begin_anew(bench, process)
            ending, calls = run(source, sdk, python)
            endings[ending_kind(ending)] += 1
            every += calls
            print(f"  {path.name:40s} {len(calls):4d} calls  {ending[:90]}", flush=True)
    print(f"examples of V{firmware}: {', '.join(f'{count} {kind}' for kind, count in endings.most_common())}")
    print("\n".join(summary(every)))
    return int(smoke != "ran")


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
