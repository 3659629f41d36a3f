"""`python -m lerobot_robot_fairino_fr3.serve checkpoint=DIR [host=127.0.0.1] [port=8000] [token=TEXT]`

Serves a policy that LeRobot trained, a folder `pretrained_model` of lerobot-train, as `policies.serve` serves ours:
`policies.evaluate server=ws://HOST:PORT` plays it in simulation, `real.rollout server=ws://HOST:PORT` on the arm, both
with the motion guard. Beyond this machine (host=0.0.0.0) a token is needed, which clients take from FR3_SERVER_TOKEN.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from policies.remote.listen import ListenConfig, serve_until_ended
from sim.core.options import at_least, option
from sim.core.program import run_program
from sim.robots.robot import RobotConfig


@dataclass(frozen=True, kw_only=True)
class ServeLeRobotConfig(ListenConfig):
    """Options of the program."""

    checkpoint: str = option("outputs/train/checkpoints/last/pretrained_model", "the policy")
    control_hz: int | None = option(
        None, "actions a second of the dataset that it was trained on, which LeRobot does not keep; null: the robot's",
        at_least(1),
    )  # fmt: skip


def main(config: ServeLeRobotConfig) -> None:
    """Serve until Ctrl-C or SIGTERM; clients are told."""
    from lerobot_robot_fairino_fr3.served_policy import LeRobotPolicy, LeRobotSession

    robot = RobotConfig("fairino_fr3", control_hz=config.control_hz).load()
    policy = LeRobotPolicy(Path(config.checkpoint), robot)
    serve_until_ended(config.checkpoint, policy.metadata(), lambda: LeRobotSession(policy), config)


if __name__ == "__main__":
    logging.getLogger().handlers.clear()  # LeRobot, imported with this package, has its own: lines twice otherwise
    run_program("serve_lerobot", ServeLeRobotConfig, main, __doc__)
