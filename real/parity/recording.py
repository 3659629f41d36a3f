"""The data that the parity test compares: a few seconds of a robot, recorded or live, and the training data."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.robots.robot import Robot

STATE, ACTION = "observation.state", "action"
START_SPREAD_RAD = 0.6  # how far from home an episode may begin: the widest start pose of the randomization
STARTS_OPEN = 0.8  # an episode begins with the gripper at least this open
LAGS = (0.5, 2.5)  # policy periods from action to state, where there is no reference


@dataclass(frozen=True)
class Trajectory:
    """T frames without a gap. state, action: (T, D) as recorded; images: camera -> uint8 (T, H, W, 3)."""

    state: np.ndarray
    action: np.ndarray
    images: dict[str, np.ndarray]
    instruction: str = ""


@dataclass(frozen=True)
class Recording:
    """Trajectories of one robot, and the metadata of their file."""

    robot_type: str
    fps: float
    names: dict[str, tuple[str, ...]]  # of the values of state and action
    cameras: tuple[str, ...]
    trajectories: tuple[Trajectory, ...]

    @property
    def moves(self) -> bool:
        """Whether there is more than one frame to compare."""
        return any(len(trajectory.state) > 1 for trajectory in self.trajectories)


@dataclass(frozen=True)
class Expected:
    """What a recording is compared with. Ranges are (low, high)."""

    robot: Robot
    fps: float
    image_size: tuple[int, int] | None
    start_low: np.ndarray  # (D,) rad, gripper opening
    start_high: np.ndarray
    lags: tuple[float, float]  # policy periods from the servo stream's path to the state
    image_lags: dict[str, tuple[float, float]]  # from state to images

    @classmethod
    def from_contract(cls, robot: Robot, image_size: tuple[int, int] | None = None) -> "Expected":
        """Return what holds for every recording by the contract, without a reference."""
        home = np.array([*robot.home_rad, STARTS_OPEN])
        reach = np.array([START_SPREAD_RAD] * robot.joints + [0.0])
        high = home + reach
        high[-1] = 1.0
        return cls(robot, robot.control_hz, image_size, home - reach, high, LAGS, {})

    def at_any_pose(self) -> "Expected":
        """Return the same, for an arm at any pose inside its limits."""
        return dataclasses.replace(self, start_low=self.robot.action_min, start_high=self.robot.action_max)


def read_recording(root: str, episodes: int) -> Recording:
    """Return the last `episodes` episodes of a dataset. UserError when there is none or a column is missing."""
    dataset = Dataset(root)
    if not dataset.num_episodes:
        raise UserError(f"dataset {root} has no episodes")
    columns = dataset.features.columns
    for name in (STATE, ACTION):
        if name not in columns:
            raise UserError(f"dataset {root} has no column {name!r}; it has {', '.join(map(repr, columns))}")
    names = {name: columns[name].names or () for name in (STATE, ACTION)}
    first = max(dataset.num_episodes - episodes, 0)
    return Recording(
        str(dataset.info.get("robot_type", "")),
        float(dataset.fps),
        names,
        dataset.features.cameras,
        read_trajectories(dataset, range(first, dataset.num_episodes)),
    )


def read_trajectories(dataset: Dataset, episodes: Iterable[int]) -> tuple[Trajectory, ...]:
    """Return whole episodes."""
    return tuple(_take(dataset, episode) for episode in episodes)


def _take(dataset: Dataset, episode: int) -> Trajectory:
    columns = dataset.columns(episode, [STATE, ACTION])
    images = {camera: dataset.images(episode, camera) for camera in dataset.features.cameras}
    return Trajectory(columns[STATE], columns[ACTION], images, dataset.instruction(episode))


def joined(trajectories: Sequence[Trajectory], name: str) -> np.ndarray:
    """Return (sum of T, D) float64: `state` or `action` of all trajectories, one after another."""
    return np.concatenate([getattr(trajectory, name) for trajectory in trajectories]).astype(float)
