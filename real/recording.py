"""A rollout's episodes as a dataset of the simulator's schema.

What the bench cannot know on hardware (where things stand) is NaN there.
"""

import json
from pathlib import Path

import numpy as np

from real.env import RobotEnv
from sim.contract import POLICY_PERIOD_S, Feedback, Observation
from sim.dataset_episode import Episode
from sim.dataset_schema import Column, Features
from sim.dataset_writer import DatasetWriter
from sim.loop import EpisodeResult
from sim.robot import Robot

LABELS = {"grounding.object_pos_w": 3, "grounding.target_pos_w": 3}
FLAGS = ("intervention",)


def features(robot: Robot, image_size: tuple[int, int]) -> Features:
    """The columns of every frame."""
    vector = Column("float32", (robot.action_dim,), (*robot.joint_names, "gripper"))
    columns = {
        "observation.state": vector,
        "action": vector,  # as sent
        "asked": vector,  # before the guard
        "reward": Column("float32"),
        **{name: Column("bool") for name in FLAGS},
        **{name: Column("float32", (size,)) for name, size in LABELS.items()},
    }
    return Features(robot.cameras, image_size, columns)


class StepRecorder:
    """The steps of one episode; satisfies `sim.loop.Recorder`."""

    def __init__(self):
        self._rows: list[dict] = []
        self._images: dict[str, list[np.ndarray]] = {}
        self.instruction = ""

    def add(
        self,
        observation: Observation,
        asked: np.ndarray,
        sent: np.ndarray,
        feedback: Feedback,
        flags: dict[str, bool],
        labels: dict[str, np.ndarray],
    ) -> None:
        unknown = {name: np.full(size, np.nan, np.float32) for name, size in LABELS.items()}
        self._rows.append(
            {
                "observation.state": observation.state,
                "action": sent,
                "asked": np.asarray(asked, np.float32),
                "reward": np.float32(feedback.reward),
                **{name: bool(flags.get(name, False)) for name in FLAGS},
                **{name: labels.get(name, value) for name, value in unknown.items()},
            }
        )
        self.instruction = observation.instruction
        for camera, image in observation.images.items():
            self._images.setdefault(camera, []).append(image)

    def episode(self, facts: dict) -> Episode:
        columns = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        images = {camera: np.array(frames) for camera, frames in self._images.items()}
        return Episode(columns, self.instruction, images, facts)


class DatasetSink:
    """Writes to `out`; one writer at a time."""

    def __init__(self, out: Path, env: RobotEnv, image_size: tuple[int, int], provenance: dict):
        self._writer = DatasetWriter(
            out, features(env.robot, image_size), round(1 / POLICY_PERIOD_S), env.robot.name, provenance
        )

    def recorder(self) -> StepRecorder:
        return StepRecorder()

    def keep(self, recorder: StepRecorder, env: RobotEnv, result: EpisodeResult) -> None:
        """Commit one episode; a crash after this cannot lose it."""
        facts = {
            "seed": result.seed,
            "success": result.success,
            "guard/latched": result.guard.latched,
            "guard/counts": json.dumps(result.guard.counts),
            **env.facts(),
        }
        self._writer.commit(recorder.episode(facts))

    def __enter__(self) -> "DatasetSink":
        return self

    def __exit__(self, *error) -> None:
        self._writer.__exit__(*error)
