"""`make test-sdk SDK=DIR`: run the vendor's own SDK and its examples on the emulator; print calls tried and refused.

DIR holds the vendor's package `fairino`, of any release, and its examples in DIR/example. Each example runs in a
process of its own, for TIMEOUT_S at most, with the controller's address replaced by the emulator's.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from real.workcell.emulator_process import EmulatorProcess
from sim.core.errors import UserError

HOST = "127.0.0.1"
PORTS = {
    "rpc_port": 20003, "state_port": 20004, "cnde_port": 20005, "servo_port": 20007, "text_port": 8080,
    "camera_port": 0, "bench_port": 0,
}  # fmt: skip
TIMEOUT_S = 15.0
# Runs in the SDK's process, before the SDK is imported: record every call on the wire and how it ended.
RECORDER = """
import atexit, json, sys, xmlrpc.client
calls = []
request = xmlrpc.client.ServerProxy._ServerProxy__request

def recorded(self, method, params):
    try:
        answer = request(self, method, params)
    except xmlrpc.client.Fault as fault:
        calls.append((method, fault.faultCode, fault.faultString))
        raise
    calls.append((method, answer[0] if isinstance(answer, list) and answer else answer, ""))
    return answer

xmlrpc.client.ServerProxy._ServerProxy__request = recorded
atexit.register(lambda: open(sys.argv[1], "w").write(json.dumps(calls)))
source = open(sys.argv[2], encoding="utf8").read()
exec(compile(source, sys.argv[2], "exec"), {"__name__": "__main__"})
"""
SMOKE = """
import time
from fairino import Robot
robot = Robot.RPC("{host}")
assert Robot.RPC.is_connect is not False
print(robot.GetSoftwareVersion(), robot.GetControllerIP())
assert robot.Mode(0) == 0 and robot.RobotEnable(1) == 0
time.sleep(0.5)
error, joints = robot.GetActualJointPosDegree()
assert error == 0
goal = [joints[0] + 5, *joints[1:]]
assert robot.MoveJ(joints and goal, 0, 0) == 0
error, pose = robot.GetActualTCPPose()
pose = [*pose[:2], pose[2] + 20, *pose[3:]]
assert robot.MoveL(pose, 0, 0) == 0, "MoveL"
error, joints = robot.GetActualJointPosDegree()
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
    """The controller release that the SDK was made for, as it states itself. UserError where it does not."""
    found = re.search(r"Robot:\s*V(\d+\.\d+\.\d+)", (sdk / "fairino" / "Robot.py").read_text(encoding="utf8"))
    if not found:
        raise UserError(f"SDK={sdk}: fairino/Robot.py names no controller release; expected the vendor's package")
    return found[1]


def run(source: str, sdk: Path) -> tuple[str, list]:
    """Run a program with the SDK: how it ended, and its calls as (method, code or fault, text)."""
    with tempfile.TemporaryDirectory() as folder:
        program, calls = Path(folder) / "program.py", Path(folder) / "calls.json"
        program.write_text(source, encoding="utf8")
        environment = {**os.environ, "PYTHONPATH": str(sdk)}
        command = [sys.executable, "-c", RECORDER, str(calls), str(program)]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=TIMEOUT_S,
            )  # fmt: skip
            ending = "ran" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]
        except subprocess.TimeoutExpired:
            ending = f"still running after {TIMEOUT_S:g} s"
        return ending, json.loads(calls.read_text()) if calls.exists() else []


def main(folder: str) -> int:
    """Run the smoke test and every example; exit code 1 when the smoke test fails."""
    sdk = Path(folder).resolve()
    firmware = release_of(sdk)
    print(f"SDK for controller V{firmware}")
    with EmulatorProcess((32, 32), firmware=firmware, host=HOST, **PORTS):
        smoke, calls = run(SMOKE.format(host=HOST), sdk)
        print(f"connect, read, move, stream 500 ServoJ: {smoke}; {len(calls)} calls")
        endings: collections.Counter[str] = collections.Counter()
        every = list(calls)
        for path in sorted((sdk / "example").glob("*.py")):
            source = path.read_text(encoding="utf8", errors="replace").replace("192.168.58.2", HOST)
            ending, calls = run(source, sdk)
            endings[ending if ending == "ran" else "other"] += 1
            every += calls
            print(f"  {path.name:40s} {len(calls):4d} calls  {ending[:90]}", flush=True)
    methods = {method for method, _, _ in every}
    unserved = {method for method, code, text in every if code == -506}
    print(f"examples: {dict(endings)}; calls {len(every)} of {len(methods)} methods")
    print(
        f"answered {sum(code == 0 for _, code, _ in every)}, refused with a code "
        f"{sum(isinstance(code, int) and code > 0 for _, code, _ in every)}"
    )
    print(f"not served: {', '.join(sorted(unserved)) or 'none'}")
    return int(smoke != "ran")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
