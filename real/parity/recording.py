"""What the parity test compares: a few seconds of a robot, recorded or live, and what the policy learned from."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.robots.robot import Robot

STATE, ACTION = "observation.state", "action"
START_SPREAD_RAD = 0.6  # how far from home an episode may begin: the widest start pose of the randomization
STARTS_OPEN = 0.8  # an episode begins with the gripper open
LAGS = (0.5, 2.5)  # policy periods from action to state, where no reference says better


@dataclass(frozen=True)
class Take:
    """T frames without a gap. state, action: (T, D) as recorded; images: camera -> uint8 (T, H, W, 3)."""

    state: np.ndarray
    action: np.ndarray
    images: dict[str, np.ndarray]
    instruction: str = ""


@dataclass(frozen=True)
class Recording:
    """Takes of one robot, and what their file says of them."""

    robot_type: str
    fps: float
    names: dict[str, tuple[str, ...]]  # of the values of state and action
    cameras: tuple[str, ...]
    takes: tuple[Take, ...]

    @property
    def moves(self) -> bool:
        """There is more than one frame to compare."""
        return any(len(take.state) > 1 for take in self.takes)


@dataclass(frozen=True)
class Expected:
    """What a recording is held against. Ranges are (low, high) each."""

    robot: Robot
    fps: float
    image_size: tuple[int, int] | None
    start_low: np.ndarray  # (D,) rad, gripper opening
    start_high: np.ndarray
    lags: tuple[float, float]  # policy periods from action to state
    picture_lags: dict[str, tuple[float, float]]  # from state to pictures

    @classmethod
    def by_contract(cls, robot: Robot, image_size: tuple[int, int] | None = None) -> "Expected":
        """What the contract says of every recording, without one to compare with."""
        home = np.array([*robot.home_rad, STARTS_OPEN])
        reach = np.array([START_SPREAD_RAD] * robot.joints + [0.0])
        high = home + reach
        high[-1] = 1.0
        return cls(robot, robot.control_hz, image_size, home - reach, high, LAGS, {})

    def anywhere(self) -> "Expected":
        """The same of an arm that may stand anywhere inside its limits."""
        return dataclasses.replace(self, start_low=self.robot.action_min, start_high=self.robot.action_max)


def read_recording(root: str, takes: int) -> Recording:
    """The last `takes` episodes of a dataset. UserError when there is none or a column is missing."""
    dataset = Dataset(root)
    if not dataset.num_episodes:
        raise UserError(f"dataset {root} has no episodes")
    columns = dataset.features.columns
    for name in (STATE, ACTION):
        if name not in columns:
            raise UserError(f"dataset {root} has no column {name!r}; it has {', '.join(map(repr, columns))}")
    names = {name: columns[name].names or () for name in (STATE, ACTION)}
    first = max(dataset.num_episodes - takes, 0)
    return Recording(
        str(dataset.info.get("robot_type", "")),
        float(dataset.fps),
        names,
        dataset.features.cameras,
        read_takes(dataset, range(first, dataset.num_episodes)),
    )


def read_takes(dataset: Dataset, episodes: Iterable[int]) -> tuple[Take, ...]:
    """Whole episodes."""
    return tuple(_take(dataset, episode) for episode in episodes)


def _take(dataset: Dataset, episode: int) -> Take:
    columns = dataset.columns(episode, [STATE, ACTION])
    images = {camera: dataset.images(episode, camera) for camera in dataset.features.cameras}
    return Take(columns[STATE], columns[ACTION], images, dataset.instruction(episode))


def joined(takes: Sequence[Take], name: str) -> np.ndarray:
    """(sum of T, D) float64: `state` or `action` of all takes, one after another."""
    return np.concatenate([getattr(take, name) for take in takes]).astype(float)
