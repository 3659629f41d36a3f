"""An agent whose chunks a server decides: of this project, or any other of openpi's protocol.

Shapes: T steps of a chunk, D action dimension.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.remote.client import ServerConnection
from policies.remote.keys import ServerKeys
from policies.remote.metadata import ServerMetadata, read_metadata
from policies.remote.protocol import OURS
from policies.runtime.chunk_agent import ChunkAgent, ChunkSpec, Timing
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.robots.robot import Robot


class RemoteAgent(ChunkAgent):
    """Asks a server for action chunks and plays them."""

    def __init__(
        self, connection: ServerConnection, robot: Robot, keys: ServerKeys, timing: Timing,
        served: ServerMetadata | None,
    ):  # fmt: skip
        """served: of a server of this project, which `keys` are not asked of; None: another's is tried out first."""
        self._connection, self._robot, self.served = connection, robot, served
        self._keys = keys if served is None else ServerKeys()
        self.cameras = self._keys.cameras(robot.camera_names) if served is None else served.cameras
        size = (keys.height, keys.width) if served is None else served.image_size
        self.image_size = (size[0], size[1])
        self.task = served.tasks[0] if served and len(served.tasks) == 1 else ""
        self.server_s = []
        # Of the steps before a look, for a policy that decides on several.
        self._seen: deque[Observation] = deque(maxlen=served.looks - 1 if served else 0)
        super().__init__(served.chunks if served else self._try_out(), timing)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def begin(self, seed: int) -> None:
        self._own: dict[str, Any] = {"seed": seed}  # what the next request says to a server of this project
        self._seen.clear()

    def act(self, observation: Observation) -> np.ndarray:
        action = super().act(observation)
        if self._seen.maxlen and len(self._plan) < self._seen.maxlen + self._delay:  # else no image need be rendered
            self._seen.append(self.looked_at(observation))
        return action

    def _look(self, observation: Observation) -> None:
        self._before = [self._keys.request(one) for one in self._seen]  # before a thread decides
        super()._look(observation)

    def _decide(self, observation: Observation, commanded: np.ndarray, under_way: list[np.ndarray]) -> np.ndarray:
        request = self._keys.request(observation)
        if self.served:
            steps = np.array(under_way, np.float32).reshape(-1, self.chunks.action_dim)
            commands = {"commanded": np.asarray(commanded, np.float32), "under_way": steps}
            request[OURS] = {**self._own, **commands, **({"before": self._before} if self._before else {})}
            self._own = {}
        chunk, answer = self._ask(request)
        if len(chunk) != self.chunks.chunk:
            raise UserError(
                f"server={self._connection.url} answered {len(chunk)} actions, then {self.chunks.chunk} were expected"
            )
        self.note_estimates(_estimates(answer, self._connection.url))
        self.note_subtask(_subtask(answer))
        return chunk

    def _ask(self, request: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the chunk (T, D) that the server decides, and the whole answer."""
        answer, _ = self._connection.infer(request)
        try:
            chunk = np.asarray(answer["actions"], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"server={self._connection.url} answered without actions, with {sorted(answer)}") from error
        width = self._robot.action_dim
        if chunk.ndim != 2 or chunk.shape[1] != width or not len(chunk) or not np.isfinite(chunk).all():
            raise UserError(
                f"server={self._connection.url} answered actions of shape {chunk.shape}, expected finite numbers of "
                f"(steps, {width}): {width - 1} joints, rad, and the gripper of {self._robot.name}"
            )
        self.server_s.append(_infer_s(answer))
        return self._keys.actions(chunk), answer

    def _try_out(self) -> ChunkSpec:
        """Let the server decide on black images of the arm at home; return what chunks it decides."""
        black = np.zeros((*self.image_size, 3), np.uint8)
        state = np.array([*self._robot.home_rad, 1.0], np.float32)
        home = Observation(dict.fromkeys(self.cameras, black), state, "stay where you are", 0.0)
        steps = len(self._ask(self._keys.request(home))[0])
        return ChunkSpec(steps, self._robot.action_dim, self._robot.control_hz, execute=min(self._keys.execute, steps))


def _infer_s(answer: dict[str, Any]) -> float:
    """Return how long the server says that it decided, s; nan where it does not say."""
    try:
        return float(answer["server_timing"]["infer_ms"]) * 1e-3
    except (KeyError, TypeError, ValueError):
        return np.nan


def _subtask(answer: dict[str, Any]) -> str:
    """Return what the policy names of its task, "" where it names nothing."""
    own = answer.get(OURS)
    return str(own.get("subtask", "")) if isinstance(own, Mapping) else ""


def _estimates(answer: dict[str, Any], url: str) -> list[Estimate]:
    """Return where the policy takes the named things to be. UserError for what is no finite point with an error."""
    try:
        found = [
            Estimate(str(one["name"]), np.array(one["pos_w"], float), float(one["within_m"]))
            for one in answer.get(OURS, {}).get("estimates", [])
        ]
        if all(one.pos_w.shape == (3,) and np.isfinite([*one.pos_w, one.within_m]).all() for one in found):
            return found
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise UserError(f"server={url} answered estimates that are no named points (3,) with an error, finite numbers, m")


def connect_agent(url: str, robot: Robot, keys: ServerKeys, timing: Timing) -> RemoteAgent:
    """Return an agent that the server at `url` decides for. UserError when it does not, or not for this robot."""
    connection = ServerConnection(url)
    served = read_metadata(connection.metadata, url)
    if served:
        robot.check_same(served.robot, served.control_hz, f"server={url}: its policy")
    elif keys.control_hz not in {None, robot.control_hz}:
        raise UserError(
            f"server={url} was trained at {keys.control_hz} Hz by server_keys.control_hz, this is {robot.name} at "
            f"{robot.control_hz} Hz; robot.control_hz={keys.control_hz} takes it"
        )
    return RemoteAgent(connection, robot, keys, timing, served)
