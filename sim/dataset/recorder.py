"""Episodes as they are recorded: the dataset's schema, and the steps of one episode on their way into it."""

import json

import numpy as np

from sim.core.contract import GROUNDING_COLUMNS, TOUCH_COLUMN, TOUCH_NAMES, TRUTH_COLUMNS, TURN_COLUMNS, TURN_NAMES
from sim.dataset.reader import Column, Episode, Features, Video, encode_depth, encode_video
from sim.dataset.schema import DEFAULTS, DEPTH_SUFFIX, FLAGS
from sim.episode.loop import EpisodeResult, Step
from sim.robots.robot import Robot


def features(robot: Robot, image_size: tuple[int, int] | None, *, depth: bool = False) -> Features:
    """Return the columns of every frame, in simulation and on the robot.

    image_size: height and width of the cameras' images; None: no image is recorded. depth: with them, of every camera.
    """
    vector = Column("float32", (robot.action_dim,), robot.value_names)
    columns = {
        "observation.state": vector,
        "action": vector,  # as sent to the arm
        "requested_action": vector,  # before the motion guard
        "next.reward": Column("float32"),
        "next.done": Column("bool"),
        "next.success": Column("bool"),
        **{name: Column("bool") for name in FLAGS},
        **{name: Column("float32", (3,), ("x", "y", "z")) for name in GROUNDING_COLUMNS},
        **{name: Column("float32", (len(TURN_NAMES),), TURN_NAMES) for name in TURN_COLUMNS},
        TOUCH_COLUMN: Column("float32", (len(TOUCH_NAMES),), TOUCH_NAMES),
    }
    cameras = robot.camera_names if image_size else ()
    return Features(cameras, image_size or (0, 0), columns, cameras if depth else ())


class EpisodeRecorder:
    """The steps of one episode; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, robot: Robot, *, images: bool = True):
        """images: False records none, so that none is rendered."""
        self._records_images = images
        self._fps = robot.control_hz
        self._rows: list[dict] = []
        self._images: dict[str, list[np.ndarray]] = {}
        self._instruction = ""

    def add(self, step: Step) -> None:
        touch = step.observation.touch
        self._rows.append(
            {
                "observation.state": step.observation.state,
                "action": np.asarray(step.executed, np.float32),
                "requested_action": np.asarray(step.requested, np.float32),
                "next.reward": np.float32(step.feedback.reward),
                "next.done": step.feedback.terminated or step.feedback.truncated,
                "next.success": step.feedback.success,
                **{name: bool(step.flags.get(name, False)) for name in FLAGS},
                **{name: step.ground_truth.get(name, DEFAULTS[name]) for name in TRUTH_COLUMNS},
                TOUCH_COLUMN: DEFAULTS[TOUCH_COLUMN] if touch is None else touch,
            }
        )
        self._instruction = step.observation.instruction
        if self._records_images:
            seen = step.observation
            for name, image in (*seen.images.items(), *((c + DEPTH_SUFFIX, one) for c, one in seen.depth.items())):
                self._images.setdefault(name, []).append(image)

    def episode(self, result: EpisodeResult, source: str, metadata: dict) -> Episode:
        """Return the finished episode, its videos encoded. source: who acted, "expert", "policy" or "intervention"."""
        columns = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        videos: dict[str, np.ndarray | Video] = {
            name: (encode_video if frames[0].ndim == 3 else encode_depth)(np.array(frames), self._fps)
            for name, frames in self._images.items()
        }
        about = {
            "seed": result.seed,
            "success": result.success,
            "source": source,
            "guard/latched": result.guard.latched,
            "guard/counts": json.dumps(result.guard.counts),
        }
        return Episode(columns, self._instruction, videos, {**about, **metadata})
