"""Queries of what the state frames carry, by wire name: the vendor's SDK reads the frame instead, other clients ask.

Names and order of the values: the calls that the vendor's Python SDK keeps as comments beside its reading of the frame.
"""

from collections.abc import Callable

import numpy as np

from real.emulator.controller import Controller
from real.emulator.method_table import Method, Table
from real.emulator.state_values import state_values

# Query: arguments, the values of `state_values` that it answers in order, how many numbers they are.
STOPS = {
    "GetRobotEmergencyStopState": (0, ("emergency_stop",), 1),
    "GetSafetyStopState": (0, ("safety_stop_0", "safety_stop_1"), 2),
}
QUERIES = {
    "GetActualJointSpeedsDegree": (1, ("joint_deg_s",), 6), "GetActualTCPSpeed": (1, ("tcp_speed",), 6),
    "GetActualTCPCompositeSpeed": (1, ("tcp_composite",), 2), "GetTargetTCPSpeed": (1, ("target_tcp_speed",), 6),
    "GetTargetTCPCompositeSpeed": (1, ("target_tcp_composite",), 2), "GetActualTCPNum": (1, ("tool",), 1),
    "GetActualWObjNum": (1, ("user",), 1), "GetMotionQueueLength": (0, ("queue_length",), 1),
    "GetProgramState": (0, ("program_state",), 1), "GetDO": (0, ("do_high", "do_low"), 2),
    "GetToolDO": (0, ("do_tool",), 1),
}  # fmt: skip


def state_queries(controller: Controller, queries: dict[str, tuple[int, tuple[str, ...], int]]) -> Table:
    """Return the methods of `queries`; what the emulated arm does not know is 0, as in its frames."""
    return {
        name: Method(arguments, _read(controller, fields), values)
        for name, (arguments, fields, values) in queries.items()
    }


def _read(controller: Controller, fields: tuple[str, ...]) -> Callable[..., list]:
    def call(*_: object) -> list:
        values = state_values(controller)
        return np.concatenate([1 * np.atleast_1d(values.get(field, 0)) for field in fields]).tolist()  # no booleans

    return call
