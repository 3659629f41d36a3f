"""The FAIRINO driver, as a work cell opens it; its protocol is `real.fairino`."""

from typing import Any

from real.core.robot_driver import DRIVERS
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from sim.robots.fairino_fr3 import NAME


@DRIVERS.register(NAME)
def open_driver(connection: Any) -> FairinoDriver:
    """Connect as `real.workcell.connect.RobotConnection` says."""
    return FairinoDriver(
        connection.ip,
        Ports(connection.rpc_port, connection.state_port, connection.cnde_port, connection.servo_port),
        robot=connection.load().slowed(connection.speed_percent),
        deadline_s=connection.deadline_s,
        gripper_index=connection.gripper_index,
        servo=connection.servo,
    )
